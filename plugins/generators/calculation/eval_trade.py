"""Templates of the evaluation set for trade_calculator."""

from generators.calculation.drafts import CalculationDraft, CalculationSampler, Templates

_GOODS = (
    "olive oil", "ceramic tiles", "bicycle frames", "roasted coffee", "solar panels", "wool blankets",
    "chess clocks", "microscope lenses", "garden tools", "cello strings", "walnut veneer",
    "espresso machines",
)  # fmt: skip
_CURRENCIES = (
    "US dollars", "euros", "Swiss francs", "Japanese yen", "Norwegian kroner", "Mexican pesos",
    "Indian rupees",
)  # fmt: skip
_CITIES = ("Rotterdam", "Busan", "Valparaiso", "Mombasa", "Gdansk", "Halifax")


def _goods(draw: CalculationSampler) -> str:
    return draw.random.choice(_GOODS)


def _rate(draw: CalculationSampler) -> float:
    return draw.random.randrange(1_050, 9_900) / 1_000


def _tariff(draw: CalculationSampler) -> float:
    return draw.random.randrange(15, 320, 5) / 10


def _convert(draw: CalculationSampler) -> CalculationDraft:
    old, new = draw.random.sample(_CURRENCIES, 2)
    price, rate = draw.cents(40, 2_000), _rate(draw)
    return CalculationDraft(
        {"goods": _goods(draw), "old": old, "new": new, "price": price, "rate": rate},
        (
            "A crate of {goods} costs {price} {old}. With {rate} {new} to one unit of that currency, what is "
            "its price in {new}? Do not round.",
            "Express an invoice over {price} {old} in {new}, at a conversion rate of {rate}. Give the "
            "unrounded amount.",
        ),
        "final_answer(convert_currency({price}, {rate}))",
        ("final_answer({price} / {rate})", "final_answer({price} + {rate})", "final_answer({price})"),
        price * rate,
        "number",
    )


def _duty(draw: CalculationSampler) -> CalculationDraft:
    price, rate = draw.cents(200, 9_000), _tariff(draw)
    return CalculationDraft(
        {"goods": _goods(draw), "price": price, "rate": rate, "city": draw.random.choice(_CITIES)},
        (
            "Customs in {city} levies {rate} per cent on {goods}. How much tariff is due on a consignment "
            "worth {price} dollars? Leave the figure unrounded.",
            "What is the tariff, in dollars and unrounded, on goods priced {price} dollars when the rate is {rate} %?",
        ),
        "final_answer(calculate_tariff({price}, {rate}))",
        (
            "final_answer({price} * {rate})",
            "final_answer({price} + calculate_tariff({price}, {rate}))",
            "final_answer({rate})",
        ),
        price * rate / 100,
        "number",
    )


def _landed(draw: CalculationSampler) -> CalculationDraft:
    price, tariff = draw.cents(300, 5_000), draw.cents(20, 290)
    return CalculationDraft(
        {"goods": _goods(draw), "price": price, "tariff": tariff},
        (
            "A pallet of {goods} is bought for {price} dollars and {tariff} dollars of tariff are paid on "
            "top. What does it cost in the end?",
            "The purchase price is {price} dollars, the customs bill comes to {tariff} dollars. Estimate the "
            "final value of the shipment.",
        ),
        "final_answer(estimate_final_value({price}, {tariff}))",
        (
            "final_answer({price} - {tariff})",
            "final_answer({price})",
            "final_answer({price} + calculate_tariff({price}, {tariff}))",
        ),
        price + tariff,
        "number",
    )


def _freight(draw: CalculationSampler) -> CalculationDraft:
    boxes, weight, empty = draw.random.randrange(12, 90), draw.cents(3, 19), draw.cents(80, 240)
    per = draw.random.randrange(3, 9)
    return CalculationDraft(
        {"goods": _goods(draw), "boxes": boxes, "weight": weight, "empty": empty, "per": per},
        (
            "{boxes} boxes of {goods} weigh {weight} kg each and stand on a frame of {empty} kg. The whole "
            "load is split evenly over {per} trucks. How many kilograms does one truck carry? Do not round.",
            "Compute ({boxes} times {weight} plus {empty}) divided by {per}, without rounding.",
        ),
        "final_answer(calculator('({boxes} * {weight} + {empty}) / {per}'))",
        (
            "final_answer(calculator('{boxes} * {weight} + {empty} / {per}'))",
            "final_answer(calculator('{boxes} * {weight} / {per}'))",
            "final_answer(calculator('{boxes} * {weight} + {empty}'))",
        ),
        (boxes * weight + empty) / per,
        "number",
    )


def _best_offer(draw: CalculationSampler) -> CalculationDraft:
    offers = [offer / 100 for offer in draw.random.sample(range(80_000, 180_000), 7)]
    return CalculationDraft(
        {
            "goods": _goods(draw),
            "offers": ", ".join(map(str, offers)),
            "first": offers[0],
            "second": sorted(offers)[1],
        },
        (
            "Seven mills quoted for the same {goods}, in dollars: {offers}. What is the lowest quote?",
            "Bids for a lot of {goods} came in at {offers} dollars. Answer with the smallest bid.",
        ),
        "final_answer(find_minimum({offers}))",
        ("final_answer(find_maximum({offers}))", "final_answer({first})", "final_answer({second})"),
        min(offers),
        "number",
    )


def _with_duty(draw: CalculationSampler) -> CalculationDraft:
    price, rate = draw.cents(200, 9_000), _tariff(draw)
    return CalculationDraft(
        {"goods": _goods(draw), "price": price, "rate": rate},
        (
            "An importer pays {price} dollars for {goods}, plus a tariff of {rate} per cent of that price. "
            "What is the final value? Do not round.",
            "Find the total cost of goods priced {price} dollars once a {rate} % tariff has been added (no rounding).",
        ),
        "tariff = calculate_tariff({price}, {rate})\nfinal_answer(estimate_final_value({price}, tariff))",
        (
            "final_answer(calculate_tariff({price}, {rate}))",
            "final_answer(estimate_final_value({price}, {rate}))",
            "final_answer({price} - calculate_tariff({price}, {rate}))",
        ),
        price * (1 + rate / 100),
        "number",
    )


def _duty_abroad(draw: CalculationSampler) -> CalculationDraft:
    old, new = draw.random.sample(_CURRENCIES, 2)
    price, rate, duty = draw.cents(100, 3_000), _rate(draw), _tariff(draw)
    return CalculationDraft(
        {"goods": _goods(draw), "old": old, "new": new, "price": price, "rate": rate, "duty": duty},
        (
            "Crates of {goods} worth {price} {old} enter a country that charges a {duty} per cent tariff, "
            "payable in {new}. One unit of the first currency buys {rate} {new}. How many {new} of tariff "
            "are due? Do not round.",
            "Convert {price} {old} to {new} at {rate} and work out a tariff of {duty} % on the converted "
            "price. Answer with the tariff alone, unrounded.",
        ),
        "price = convert_currency({price}, {rate})\nfinal_answer(calculate_tariff(price, {duty}))",
        (
            "final_answer(calculate_tariff({price}, {duty}))",
            "final_answer(convert_currency({price}, {rate}))",
            "price = convert_currency({price}, {rate})\nfinal_answer(price + calculate_tariff(price, {duty}))",
        ),
        price * rate * duty / 100,
        "number",
    )


def _two_rates(draw: CalculationSampler) -> CalculationDraft:
    low = _rate(draw)
    high, price = round(low + draw.random.randrange(20, 400) / 1_000, 3), draw.cents(500, 4_000)
    old, new = draw.random.sample(_CURRENCIES, 2)
    return CalculationDraft(
        {"low": low, "high": high, "price": price, "old": old, "new": new},
        (
            "A trader holds {price} {old}. Bank one pays {high} {new} for each unit, bank two only {low}. "
            "How many more {new} does bank one pay out for the whole sum, to the nearest hundredth?",
            "The rate for changing {old} to {new} rose from {low} to {high}. By how many {new} did the value "
            "of {price} {old} grow? Round to two decimals.",
        ),
        "final_answer(round(convert_currency({price}, {high}) - convert_currency({price}, {low}), 2))",
        (
            "final_answer(round(convert_currency({price}, {high}), 2))",
            "final_answer(round(convert_currency({price}, {low}) - convert_currency({price}, {high}), 2))",
            "final_answer(round({high} - {low}, 3))",
        ),
        price * (high - low),
        "cents",
    )


def _best_converted(draw: CalculationSampler) -> CalculationDraft:
    quotes = [quote / 100 for quote in draw.random.sample(range(9_000, 60_000), 5)]
    rate, (old, new) = _rate(draw), draw.random.sample(_CURRENCIES, 2)
    return CalculationDraft(
        {"quotes": ", ".join(map(str, quotes)), "rate": rate, "old": old, "new": new, "goods": _goods(draw)},
        (
            "Five dealers ask {quotes} {old} for one lot of {goods}. Take the cheapest and state its price "
            "in {new}, at {rate} {new} to the unit, unrounded.",
            "Pick the smallest of the amounts {quotes} (all in {old}) and convert it to {new} with the rate "
            "{rate}. No rounding, please.",
        ),
        "lowest = find_minimum({quotes})\nfinal_answer(convert_currency(lowest, {rate}))",
        (
            "final_answer(find_minimum({quotes}))",
            "final_answer(convert_currency(find_maximum({quotes}), {rate}))",
            "final_answer(find_minimum({quotes}) / {rate})",
        ),
        min(quotes) * rate,
        "number",
    )


def _lot_duty(draw: CalculationSampler) -> CalculationDraft:
    pieces, each, rebate = draw.random.randrange(20, 400), draw.cents(4, 60), draw.random.randrange(10, 70)
    duty = _tariff(draw)
    return CalculationDraft(
        {"goods": _goods(draw), "pieces": pieces, "each": each, "rebate": rebate, "duty": duty},
        (
            "A buyer orders {pieces} units of {goods} at {each} dollars apiece and is granted a rebate of "
            "{rebate} dollars on the whole order. A tariff of {duty} per cent falls on the reduced price. "
            "How much is the tariff, unrounded?",
            "What tariff does an order of {pieces} pieces at {each} dollars, less {rebate} dollars off the "
            "total, incur at {duty} %? Give the unrounded dollar amount of the tariff only.",
        ),
        "price = calculator('{pieces} * {each} - {rebate}')\nfinal_answer(calculate_tariff(price, {duty}))",
        (
            "final_answer(calculate_tariff(calculator('{pieces} * {each}'), {duty}))",
            "final_answer(calculator('{pieces} * {each} - {rebate}'))",
            "final_answer(calculate_tariff(calculator('{pieces} * ({each} - {rebate} / 100)'), {duty}))",
        ),
        (pieces * each - rebate) * duty / 100,
        "number",
    )


def _whole_import(draw: CalculationSampler) -> CalculationDraft:
    old, new = draw.random.sample(_CURRENCIES, 2)
    price, rate, duty = draw.cents(100, 3_000), _rate(draw), _tariff(draw)
    return CalculationDraft(
        {"goods": _goods(draw), "old": old, "new": new, "price": price, "rate": rate, "duty": duty},
        (
            "A shop imports {goods} for {price} {old}. The rate is {rate} {new} to one unit, and customs "
            "adds {duty} per cent of the converted price. What does the shop pay altogether in {new}, "
            "rounded to two decimals?",
            "Convert {price} {old} into {new} (rate {rate}), compute a {duty} % tariff on the result and add "
            "it. Answer with the final value in {new}, to two decimal places.",
        ),
        "price = convert_currency({price}, {rate})\ntariff = calculate_tariff(price, {duty})\n"
        "final_answer(round(estimate_final_value(price, tariff), 2))",
        (
            "final_answer(round(convert_currency({price}, {rate}), 2))",
            "price = convert_currency({price}, {rate})\nfinal_answer(round(calculate_tariff(price, {duty}), 2))",
            "final_answer(round(estimate_final_value({price}, calculate_tariff({price}, {duty})), 2))",
        ),
        price * rate * (1 + duty / 100),
        "cents",
    )


def _two_suppliers(draw: CalculationSampler) -> CalculationDraft:
    near, far = draw.cents(900, 1_400), draw.cents(800, 1_300)
    low, high = draw.random.randrange(5, 60) / 10, draw.random.randrange(70, 250) / 10
    return CalculationDraft(
        {"goods": _goods(draw), "near": near, "far": far, "low": low, "high": high},
        (
            "Supplier North sells {goods} at {near} dollars with a {low} per cent tariff; supplier South "
            "asks {far} dollars but {high} per cent tariff applies. What is the lower of the two final "
            "costs? Do not round.",
            "The same {goods} can be had for {near} dollars plus {low} % tariff or for {far} dollars plus "
            "{high} % tariff. State the unrounded total of the cheaper option, tariff included.",
        ),
        "north = estimate_final_value({near}, calculate_tariff({near}, {low}))\n"
        "south = estimate_final_value({far}, calculate_tariff({far}, "
        "{high}))\nfinal_answer(find_minimum(north, south))",
        (
            "north = estimate_final_value({near}, calculate_tariff({near}, {low}))\n"
            "south = estimate_final_value({far}, calculate_tariff({far}, {high}))\n"
            "final_answer(find_maximum(north, south))",
            "final_answer(find_minimum({near}, {far}))",
            "final_answer(find_minimum(calculate_tariff({near}, {low}), calculate_tariff({far}, {high})))",
        ),
        min(near * (1 + low / 100), far * (1 + high / 100)),
        "number",
    )


def _three_ports(draw: CalculationSampler) -> CalculationDraft:
    ports = draw.random.sample(_CITIES, 3)
    quotes = {}
    for port in ports:
        rate = _rate(draw)
        quotes[port] = (round(draw.cents(900, 1_500) / rate, 2), rate)
    costs = {port: price * rate for port, (price, rate) in quotes.items()}
    order = sorted(ports, key=costs.__getitem__)
    listed = "; ".join(f"{port}: {price} at a rate of {rate}" for port, (price, rate) in quotes.items())
    return CalculationDraft(
        {"goods": _goods(draw), "listed": listed, "quotes": quotes, "order": order},
        (
            "Three ports quote for a container of {goods}, each in local money with the rate to US dollars "
            "(dollars for one local unit) beside it. {listed}. Which port is the cheapest in US dollars? "
            "Answer with its name.",
            "Convert these local prices to US dollars by multiplying with the rate given and name the port "
            "with the lowest dollar price for {goods}. {listed}.",
        ),
        "quotes = {quotes!r}\ncosts = {{}}\nfor port, (price, rate) in quotes.items():\n"
        "    costs[port] = convert_currency(price, rate)\nfinal_answer(min(costs, key=costs.get))",
        ("final_answer({order!r}[2])", "final_answer({order!r}[1])", "final_answer({order!r})"),
        order[0],
        "word",
    )


def _basket(draw: CalculationSampler) -> CalculationDraft:
    first, second = draw.random.sample(_GOODS, 2)
    many, few = draw.random.randrange(30, 90), draw.random.randrange(5, 29)
    cheap, dear, duty = draw.cents(3, 30), draw.cents(31, 250), _tariff(draw)
    return CalculationDraft(
        {
            "first": first,
            "second": second,
            "many": many,
            "few": few,
            "cheap": cheap,
            "dear": dear,
            "duty": duty,
        },
        (
            "An order lists {many} units of {first} at {cheap} dollars and {few} units of {second} at {dear} "
            "dollars. Tariff on the order's total price is {duty} per cent. What is the final value of the "
            "order, rounded to cents?",
            "Add up {many} x {cheap} dollars ({first}) and {few} x {dear} dollars ({second}), put {duty} % "
            "tariff on the total, and give price and tariff together to two decimals.",
        ),
        "price = calculator('{many} * {cheap} + {few} * {dear}')\ntariff = calculate_tariff(price, {duty})\n"
        "final_answer(round(estimate_final_value(price, tariff), 2))",
        (
            "final_answer(round(calculator('{many} * {cheap} + {few} * {dear}'), 2))",
            "price = calculator('{many} * {cheap} + {few} * {dear}')\n"
            "final_answer(round(calculate_tariff(price, {duty}), 2))",
            "price = calculator('{many} * {cheap}')\n"
            "final_answer(round(estimate_final_value(price, calculate_tariff(price, {duty})), 2))",
        ),
        (many * cheap + few * dear) * (1 + duty / 100),
        "cents",
    )


def _spread(draw: CalculationSampler) -> CalculationDraft:
    quotes = [quote / 100 for quote in draw.random.sample(range(20_000, 90_000), 6)]
    pieces = draw.random.randrange(3, 40)
    return CalculationDraft(
        {"goods": _goods(draw), "quotes": ", ".join(map(str, quotes)), "pieces": pieces},
        (
            "Quotes for one unit of {goods} were {quotes} dollars. Buying {pieces} units at the lowest "
            "instead of the highest quote, how many dollars are saved? Round to two decimals.",
            "Take the gap between the largest and the smallest of {quotes} and multiply it by {pieces}. Give "
            "the result to two decimals.",
        ),
        "low, high = find_minimum({quotes}), find_maximum({quotes})\n"
        "final_answer(round(calculator(f'({{high}} - {{low}}) * {pieces}'), 2))",
        (
            "final_answer(round(find_maximum({quotes}) - find_minimum({quotes}), 2))",
            "final_answer(round(find_maximum({quotes}) * {pieces}, 2))",
            "final_answer(round((find_minimum({quotes}) - find_maximum({quotes})) * {pieces}, 2))",
        ),
        (max(quotes) - min(quotes)) * pieces,
        "cents",
    )


TEMPLATES = Templates(
    one=(_convert, _duty, _landed, _freight, _best_offer),
    two=(_with_duty, _duty_abroad, _two_rates, _best_converted, _lot_duty),
    more=(_whole_import, _two_suppliers, _three_ports, _basket, _spread),
)
