"""Airports by IATA code: the city that each serves, and its coordinates."""

CITIES = {
    "ATL": "Atlanta", "AUS": "Austin", "BNA": "Nashville", "BOS": "Boston", "CLE": "Cleveland", "CLT": "Charlotte",
    "DEN": "Denver", "DFW": "Dallas", "DTW": "Detroit", "EWR": "Newark", "IAH": "Houston", "JFK": "New York",
    "LAS": "Las Vegas", "LAX": "Los Angeles", "LGA": "LaGuardia", "MCI": "Kansas City", "MCO": "Orlando",
    "MIA": "Miami", "MSP": "Minneapolis", "MSY": "New Orleans", "ORD": "Chicago", "PDX": "Portland",
    "PHL": "Philadelphia", "PHX": "Phoenix", "PIT": "Pittsburgh", "RDU": "Raleigh", "SAN": "San Diego",
    "SEA": "Seattle", "SFO": "San Francisco", "SLC": "Salt Lake City", "STL": "St. Louis", "TPA": "Tampa",
}  # fmt: skip
"""IATA code → city, for our own network and for the data files of TauBench and tau2."""

PLACES = {
    "DEN": (39.9, -104.7), "ATL": (33.6, -84.4), "ORD": (42.0, -87.9), "SLC": (40.8, -112.0), "JFK": (40.6, -73.8),
    "SEA": (47.4, -122.3), "PDX": (45.6, -122.6), "SAN": (32.7, -117.2), "SFO": (37.6, -122.4), "AUS": (30.2, -97.7),
    "MSP": (44.9, -93.2), "MCI": (39.3, -94.7), "STL": (38.7, -90.4), "BNA": (36.1, -86.7), "MSY": (30.0, -90.3),
    "TPA": (28.0, -82.5), "RDU": (35.9, -78.8), "PIT": (40.5, -80.2), "CLE": (41.4, -81.8), "BOS": (42.4, -71.0),
}  # fmt: skip
"""IATA code → latitude and longitude in degrees, for our own network; the first five airports are its hubs."""
HUBS = tuple(PLACES)[:5]
