"""A site from Python: `Client` submits experiments, waits for them and reads what they gave.

An example, as long as a notebook's cell::

    from trilemma_client import Client

    client = Client()  # TRILEMMA_URL and TRILEMMA_TOKEN, or ~/.config/trilemma/client.toml
    protocol = next(client.each("protocols", dataset="digits"))
    experiment = client.submit(
        {  # or YAML, or the path of a file
            "name": "A first comparison",
            "dataset": "digits",
            "protocols": [protocol["fingerprint"]],
            "budget": {"images": 2000},
            "seeds": 2,
            "entries": [{"algorithm": "gan.sngan"}, {"algorithm": "vae.conv"}],
        }
    )
    experiment.wait()  # with a bar of the jobs that are done

    board = experiment.leaderboard(sort="precision")
    for row in board.rows():  # board.to_pandas() is the same as a table
        print(row["rank"], row["entry"], row["PR[classifier] precision"])
    run = next(experiment.runs(algorithm="vae.conv"))
    pictures = experiment.samples(run).images()  # of Pillow; save(folder) writes PNG
    client.download("evaluations", "values.csv", experiment=experiment.id)
"""

from trilemma_client.boards import Board as Board
from trilemma_client.client import Client as Client
from trilemma_client.errors import TrilemmaError as TrilemmaError
from trilemma_client.experiments import Experiment as Experiment
from trilemma_client.samples import Samples as Samples
