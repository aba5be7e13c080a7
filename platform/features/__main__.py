from platform import cli
from platform.features.verb import app

cli.run(app, "platform.features")
