// One function a command; each returns the process's exit code.
#pragma once
#include "cli/settings.h"

namespace mr::cli {

int run_up(const Settings& s);
int run_tracking(const Settings& s);
int run_serve(const Settings& s);
int run_version();
int run_doctor(const Settings& s);
int run_completion(const Settings& s);
int run_kubeconfig(const Settings& s);
int run_exec(const Settings& s);
int run_client(const Settings& s);
int run_pipelines(const Settings& s);
int run_model(const Settings& s);
// Waits for the end of standard input, then removes the containers that a killed `up` has left.
int run_containers_guard(const Settings& s);
// Answers one ONNX model's requests over a socket, inside a sandbox.
int run_onnx_worker(const Settings& s);

// Where MLflow's web UI lies: --mlflow-ui, or the mlflow package of the Python found on PATH or in VIRTUAL_ENV; empty
// when nowhere.
std::string find_mlflow_ui(const Settings& s);

}  // namespace mr::cli
