// The program: parses the command line and runs one command.
#include "cli/commands.h"
#include "cli/listener.h"

int main(int argc, char** argv) {
  using namespace mr::cli;
  Settings s;
  int code = 0;
  if (!parse(argc, argv, s, code)) return code;
  block_signals();
  configure_log(s);
  switch (s.command) {
    case Command::up:
      return run_up(s);
    case Command::tracking:
      return run_tracking(s);
    case Command::serve:
      return run_serve(s);
    case Command::version:
      return run_version();
    case Command::doctor:
      return run_doctor(s);
    case Command::completion:
      return run_completion(s);
    case Command::kubeconfig:
      return run_kubeconfig(s);
    case Command::exec:
      return run_exec(s);
    case Command::client:
      return run_client(s);
    case Command::pipelines:
      return run_pipelines(s);
    case Command::model:
      return run_model(s);
    case Command::containers_guard:
      return run_containers_guard(s);
    case Command::onnx_worker:
      return run_onnx_worker(s);
    default:
      return 2;
  }
}
