// `millrace onnx-worker`: what a model's workers run inside their sandbox; not for users.
#include "cli/commands.h"
#include "serving/onnx/worker.h"

namespace mr::cli {

int run_onnx_worker(const Settings& s) {
  const auto& o = s.onnx;
  serving::onnx::WorkerArgs args;
  args.fd = o.fd;
  args.library = o.library;
  args.model = o.model;
  args.memory = o.memory;
  args.session.threads = o.threads;
  args.session.parallel = o.parallel;
  args.session.optimization = o.optimization;
  args.session.concurrent = o.concurrent;
  return serving::onnx::run_worker(args);
}

}  // namespace mr::cli
