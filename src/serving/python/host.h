// Workers as engines, in Python or of ONNX Runtime: makes a model's environment, starts its workers, and gives an
// Engine whose predict() puts a request into their queue and waits. One host a process; it owns the loop that the
// workers live on. Thread safe.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serving/load.h"
#include "serving/python/group.h"

namespace mr::serving::python {

struct HostOptions {
  std::string data;         // environments lie in data/model-envs, the workers' views in data/workers
  std::string onnxruntime;  // the library that the user named; empty: the machine's, or the model's own
  WorkerOptions worker;
};
struct Workers {
  std::shared_ptr<PythonModels> python;
  std::shared_ptr<OnnxModels> onnx;
};
Workers make_workers(HostOptions options);

}  // namespace mr::serving::python
