"""The vocabulary of the shop's records: products, names and streets are invented."""

_COLORS = ("black", "white", "red", "navy", "olive", "sand")
_SIZES = ("XS", "S", "M", "L", "XL")
_WOODS = ("oak", "walnut", "beech", "ash")
_YES_NO = ("yes", "no")

PRODUCTS: dict[str, tuple[int, dict[str, tuple[str, ...]]]] = {
    "Air Fryer": (95, {"capacity": ("3 l", "4.5 l", "6 l"), "window": _YES_NO, "color": ("black", "white")}),
    "Alarm Clock": (28, {"display": ("analog", "digital"), "light": _YES_NO, "color": _COLORS[:4]}),
    "Backpack": (74, {"volume": ("18 l", "24 l", "32 l"), "material": ("canvas", "nylon"), "color": _COLORS}),
    "Bath Towel": (19, {"size": ("small", "medium", "large"), "fabric": ("cotton", "linen"), "color": _COLORS}),
    "Bicycle Helmet": (62, {"size": ("S", "M", "L"), "lamp": _YES_NO, "color": _COLORS[:5]}),
    "Board Game": (39, {"theme": ("trains", "gardens", "pirates"), "players": ("2", "2-4", "3-6")}),
    "Bookshelf": (149, {"shelves": ("3", "4", "5"), "wood": _WOODS, "back panel": _YES_NO}),
    "Bread Knife": (33, {"blade": ("20 cm", "25 cm"), "handle": ("beech", "walnut", "steel")}),
    "Camping Chair": (48, {"frame": ("steel", "aluminum"), "cup holder": _YES_NO, "color": _COLORS[:5]}),
    "Cat Tree": (88, {"height": ("90 cm", "130 cm", "170 cm"), "cover": ("plush", "sisal"), "color": ("gray", "sand")}),
    "Chess Set": (57, {"wood": _WOODS, "board": ("folding", "flat"), "size": ("travel", "club")}),
    "Coffee Grinder": (83, {"drive": ("hand", "electric"), "burrs": ("steel", "ceramic"), "color": _COLORS[:3]}),
    "Cutting Board": (27, {"wood": _WOODS, "size": ("small", "large"), "groove": _YES_NO}),
    "Desk Lamp": (46, {"light": ("warm", "neutral", "cold"), "mount": ("base", "clamp"), "color": _COLORS[:4]}),
    "Dog Bed": (59, {"size": ("S", "M", "L", "XL"), "filling": ("foam", "fiber"), "color": ("gray", "olive", "sand")}),
    "Drawing Tablet": (189, {"size": ("small", "medium", "large"), "wireless": _YES_NO, "levels": ("4096", "8192")}),
    "Duvet": (112, {"filling": ("down", "wool", "fiber"), "size": ("single", "double", "king"), "season": ("summer",
        "winter")}),
    "E-Reader": (139, {"screen": ("6 inch", "7 inch", "8 inch"), "storage": ("16 GB", "32 GB"), "waterproof": _YES_NO}),
    "Electric Kettle": (44, {"capacity": ("1 l", "1.5 l", "1.8 l"), "material": ("steel", "glass"),
        "color": _COLORS[:3]}),
    "Fishing Rod": (77, {"length": ("1.8 m", "2.4 m", "3 m"), "action": ("light", "medium", "heavy")}),
    "Floor Mat": (31, {"size": ("50x80", "60x90", "80x120"), "fiber": ("jute", "cotton"), "color": _COLORS[:5]}),
    "Fountain Pen": (52, {"nib": ("fine", "medium", "broad"), "filling": ("cartridge", "piston"),
        "color": _COLORS[:4]}),
    "Garden Hose": (36, {"length": ("10 m", "20 m", "30 m"), "nozzle": _YES_NO, "color": ("green", "orange")}),
    "Guitar Strap": (24, {"material": ("leather", "cotton", "nylon"), "width": ("5 cm", "7 cm"), "color": _COLORS[:4]}),
    "Hammock": (68, {"seats": ("one", "two"), "material": ("cotton", "nylon"), "color": _COLORS}),
    "Headphones": (129, {"type": ("in-ear", "on-ear", "over-ear"), "wireless": _YES_NO, "color": _COLORS[:4]}),
    "Hiking Boots": (142, {"size": ("38", "40", "42", "44"), "material": ("leather", "mesh"), "waterproof": _YES_NO}),
    "Humidifier": (71, {"tank": ("2 l", "4 l"), "timer": _YES_NO, "color": ("white", "black", "sand")}),
    "Jigsaw Puzzle": (23, {"pieces": ("500", "1000", "2000"), "motif": ("harbor", "forest", "market"),
        "finish": ("matte", "gloss")}),
    "Keyboard": (98, {"layout": ("full", "compact"), "switches": ("linear", "tactile", "clicky"), "light": _YES_NO}),
    "Laptop Sleeve": (29, {"size": ("13 inch", "14 inch", "16 inch"), "material": ("felt", "neoprene"),
        "color": _COLORS[:4]}),
    "Mixing Bowl": (26, {"material": ("steel", "glass", "ceramic"), "diameter": ("18 cm", "24 cm", "30 cm"),
        "lid": _YES_NO}),
    "Monitor": (269, {"size": ("24 inch", "27 inch", "32 inch"), "panel": ("matte", "gloss"), "stand": ("fixed",
        "swivel")}),
    "Notebook": (14, {"paper": ("plain", "lined", "dotted"), "size": ("A6", "A5", "A4"), "cover": ("soft", "hard")}),
    "Office Chair": (319, {"back": ("mesh", "fabric", "leather"), "armrests": _YES_NO, "color": _COLORS[:4]}),
    "Pepper Mill": (38, {"wood": _WOODS, "height": ("15 cm", "20 cm", "30 cm")}),
    "Picnic Basket": (64, {"persons": ("2", "4", "6"), "cooling": _YES_NO, "weave": ("willow", "rattan")}),
    "Pillow": (42, {"filling": ("down", "latex", "fiber"), "firmness": ("soft", "medium", "firm"),
        "shape": ("square", "neck")}),
    "Rain Jacket": (118, {"size": _SIZES, "hood": ("fixed", "detachable"), "color": _COLORS}),
    "Rice Cooker": (66, {"capacity": ("1 l", "1.8 l"), "timer": _YES_NO, "color": ("white", "black", "red")}),
    "Running Shoes": (109, {"size": ("38", "40", "42", "44"), "sole": ("soft", "firm"), "color": _COLORS[:5]}),
    "Sleeping Bag": (134, {"comfort": ("10 C", "0 C", "-10 C"), "length": ("regular", "long"), "zipper": ("left",
        "right")}),
    "Soup Pot": (58, {"volume": ("3 l", "5 l", "8 l"), "material": ("steel", "enamel"), "lid": ("glass", "metal")}),
    "Sunglasses": (79, {"lenses": ("gray", "brown", "green"), "polarized": _YES_NO, "frame": ("round", "square")}),
    "Sweater": (69, {"size": _SIZES, "wool": ("merino", "lambswool"), "color": _COLORS}),
    "Table Fan": (49, {"diameter": ("20 cm", "30 cm"), "speeds": ("3", "5"), "color": ("white", "black", "navy")}),
    "Tea Set": (87, {"persons": ("2", "4", "6"), "material": ("stoneware", "porcelain"), "tray": _YES_NO}),
    "Umbrella": (34, {"size": ("pocket", "walking", "golf"), "opening": ("manual", "automatic"), "color": _COLORS}),
    "Wall Clock": (53, {"diameter": ("25 cm", "30 cm", "40 cm"), "numerals": ("arabic", "roman"), "rim": ("wood",
        "metal")}),
    "Yoga Mat": (41, {"thickness": ("4 mm", "6 mm"), "material": ("cork", "rubber"), "color": _COLORS}),
}  # fmt: skip
"""Name → usual price in dollars, and the values of each option."""

FIRST_NAMES = (
    "Ada", "Alma", "Amir", "Anouk", "Arlo", "Astrid", "Bao", "Beatriz", "Bram", "Carmen", "Cyrus", "Dagny",
    "Dario", "Edda", "Elias", "Esra", "Farid", "Femke", "Gita", "Goran", "Hana", "Hugo", "Ilse", "Imani",
    "Ines", "Ivo", "Jamal", "Jonas", "Jun", "Kaia", "Kenji", "Lara", "Leif", "Lucia", "Malik", "Marta",
    "Milo", "Nadia", "Nils", "Noor", "Odile", "Oskar", "Paola", "Pavel", "Quinn", "Rosa", "Samir", "Selma",
    "Tariq", "Thea", "Uma", "Viktor", "Wanda", "Yara", "Zeno",
)  # fmt: skip
LAST_NAMES = (
    "Abbot", "Ahlberg", "Barros", "Bellamy", "Castell", "Chowdhury", "Dahl", "Demir", "Eskola", "Farrow",
    "Ferro", "Galway", "Grabowski", "Haddad", "Holm", "Ibarra", "Ishida", "Jansen", "Kaur", "Kovacs", "Lindqvist",
    "Lowry", "Mbeki", "Moss", "Nakata", "Novak", "Okafor", "Osei", "Petrov", "Quist", "Rahimi", "Rossetti",
    "Sandoval", "Sorensen", "Tanaka", "Thorne", "Ueda", "Varga", "Vos", "Wexler", "Yilmaz", "Zamora",
)  # fmt: skip
STREETS = (
    "Alder Lane", "Bridge Street", "Canal Road", "Dune Avenue", "East Quay", "Foundry Street", "Garden Row",
    "Harbor Drive", "Iris Court", "Juniper Way", "Kiln Road", "Linden Avenue", "Mill Street", "North Terrace",
    "Orchard Road", "Poplar Avenue", "Quarry Lane", "River Walk", "Station Road", "Tower Street",
)  # fmt: skip
CITIES = (
    ("Albany", "NY", "122"), ("Austin", "TX", "787"), ("Boise", "ID", "837"), ("Boston", "MA", "021"),
    ("Buffalo", "NY", "142"), ("Chicago", "IL", "606"), ("Columbus", "OH", "432"), ("Denver", "CO", "802"),
    ("Fresno", "CA", "937"), ("Houston", "TX", "770"), ("Madison", "WI", "537"), ("Miami", "FL", "331"),
    ("Omaha", "NE", "681"), ("Portland", "OR", "972"), ("Raleigh", "NC", "276"), ("Reno", "NV", "895"),
    ("Seattle", "WA", "981"), ("Tucson", "AZ", "857"), ("Tulsa", "OK", "741"), ("Spokane", "WA", "992"),
)  # fmt: skip
"""City, state, first three digits of its zip codes."""
CARDS = ("visa", "mastercard", "amex")
