"""The vocabulary of the sites."""

TOWNS = ("Larkhaven", "Brinmoor", "Castellow", "Dunmarrow", "Eskerby", "Fallowick", "Quayle Bay", "Ostermouth")

FIRST_NAMES = (
    "Ada", "Anselm", "Birgit", "Carlos", "Cleo", "Dagny", "Edwin", "Farah", "Greta", "Hugo", "Ines", "Jonas", "Kamala",
    "Leif", "Mara", "Nadia", "Oskar", "Petra", "Quentin", "Rosa", "Samir", "Tilda", "Ulrich", "Vera", "Wanda", "Yusuf",
)  # fmt: skip
LAST_NAMES = (
    "Abbott", "Bergman", "Castell", "Dorsey", "Eklund", "Farrow", "Grieve", "Holm", "Ibarra", "Jansen", "Kestrel",
    "Lindqvist", "Marlowe", "Nakata", "Okafor", "Penrose", "Quist", "Rennick", "Sorel", "Thorne", "Umber", "Vasari",
    "Wexley", "Yarrow", "Zoller", "Ashdown", "Brandt", "Corrigan", "Delacourt", "Emsworth", "Fonseca", "Galbraith",
    "Haddad", "Ivarsen", "Juhl", "Kovacs", "Lombard", "Mistry", "Norwood", "Osei",
)  # fmt: skip
STREETS = (
    "Elm Street", "Ropewalk", "Mill Lane", "Chandlers Row", "Beacon Road", "Cooper Street", "Harbour Parade",
    "Abbey Close", "Weavers Yard", "Lantern Hill", "Salt Quay", "Orchard Way",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("March", "April", "May", "June", "July", "August", "September", "October")

SHOP_NAMES = (
    "Amber", "Bluebell", "Copper", "Driftwood", "Emberly", "Foxglove", "Gannet", "Hazel", "Ivory", "Juniper", "Kelp",
    "Lodestar",
)  # fmt: skip
SHOPS = {
    "Books": (
        "sea atlas", "pocket dictionary", "bird guide", "cookery book", "town chronicle", "book of knots",
        "star chart", "travel diary", "crossword volume", "book of sonnets",
    ),
    "Bicycles": (
        "bell", "saddle", "chain", "front lamp", "pannier bag", "tyre", "pump", "repair kit", "helmet", "mudguard",
    ),
    "Tea House": (
        "smoked tea", "jasmine tea", "teapot", "tea strainer", "honey jar", "shortbread tin", "rooibos", "travel mug",
        "lemon cake", "sampler box",
    ),
    "Hardware": (
        "claw hammer", "hand drill", "wood glue", "paint roller", "padlock", "tape measure", "step ladder",
        "garden hose", "spirit level", "work gloves",
    ),
    "Garden Centre": (
        "rose bush", "watering can", "tulip bulbs", "compost sack", "bird feeder", "plum tree", "trellis",
        "garden fork", "herb pot", "seed tray",
    ),
    "Music": (
        "ukulele", "metronome", "cello string", "music stand", "recorder", "drum sticks", "guitar strap",
        "tuning fork", "song book", "violin bow",
    ),
    "Outdoor Gear": (
        "rain jacket", "compass", "camping stove", "sleeping mat", "head torch", "walking poles", "dry bag",
        "thermos flask", "wool socks", "trail map",
    ),
    "Toys": (
        "kite", "chess set", "wooden train", "jigsaw", "spinning top", "doll house", "marble run", "juggling balls",
        "puppet", "model boat",
    ),
    "Cheese": (
        "goat cheese", "blue cheese", "cheese knife", "slate board", "fig jam", "oat biscuits", "smoked cheddar",
        "soft brie", "pickled onions", "fondue set",
    ),
}  # fmt: skip
"""Kind of shop → goods that it may sell."""

INSTITUTES = ("Tidewater", "Northlight", "Stonebridge", "Halcyon", "Merewood")
DEPARTMENTS = {
    "Ocean Chemistry": ("brine pools", "sea foam", "kelp forests", "harbour silt", "coral dust", "tidal acids"),
    "Bird Studies": ("gulls", "swifts", "owl calls", "tern colonies", "nesting boxes", "goose routes"),
    "Materials": ("rope fibres", "ship varnish", "sea glass", "cork panels", "salt bricks", "sailcloth"),
    "Town History": ("lighthouse logs", "guild records", "old ferries", "market tolls", "chapel bells", "mill deeds"),
}
"""Department → topics of its papers."""
APPROACHES = (
    "A Survey of", "Measuring", "On the Origin of", "Long-Term Trends in", "Rethinking", "A Short History of",
    "The Economics of", "Seasonal Change in",
)  # fmt: skip
JOURNALS = ("Annals of Coastal Science", "Harbour Letters", "Journal of Small Towns", "Northern Review")
POSITIONS = ("Professor", "Senior researcher", "Researcher", "Laboratory engineer")
JOBS = ("Laboratory assistant", "Archive clerk", "Data technician", "Field observer", "Workshop mechanic")

EVENTS = (
    "Lantern Parade", "Harbour Swim", "Night of Choirs", "Chess Open", "Kite Festival", "Antiques Fair",
    "Poetry Evening", "Boat Race", "Cheese Tasting", "Star Walk",
)  # fmt: skip
VENUES = ("Town Hall", "Old Customs House", "Pier Pavilion", "Market Square", "St Brannoc's Chapel")
PORTS = ("Gull Island", "Port Merrick", "Sandwick", "Kings Jetty", "Isle of Brae", "Cape Tallow")
ROOMS = ("Whaling Room", "Clock Room", "Map Room", "Shell Cabinet", "Glass Gallery", "Print Workshop")
OBJECTS = ("harpoon", "longcase clock", "sea chart", "nautilus cup", "stained window", "hand press")
