"""The stock server's REST application over one database file: python stock_server.py FILE PORT.

Its own command starts a supervisor and workers; the application alone starts and stops faster.
"""

import os
import sys


def main():
    path, port = sys.argv[1], int(sys.argv[2])
    from mlflow import server

    os.environ[server.BACKEND_STORE_URI_ENV_VAR] = f"sqlite:///{path}"
    os.environ[server.REGISTRY_STORE_URI_ENV_VAR] = f"sqlite:///{path}"
    os.environ[server.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[server.SERVE_ARTIFACTS_ENV_VAR] = "true"
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, server.app)


if __name__ == "__main__":
    main()
