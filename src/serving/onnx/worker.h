// The process that runs one ONNX model: it stands in a sandbox, opens ONNX Runtime, and answers the messages of
// python/wire.h over the socket that it is given. What mlflow.onnx gives for a table or for tensors, it gives too.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "serving/onnx/runtime.h"

namespace mr::serving::onnx {

struct WorkerArgs {
  int fd = -1;
  std::string library, model;
  std::int64_t memory = 0;  // bytes; 0: no limit
  SessionOptions session;
};

// Until the other end closes. The process's exit code.
int run_worker(const WorkerArgs& args);

// A message without its head: what is to be computed, and the arrays. Answers the whole message that goes back.
// `payload` comes from the program that started this one.
std::string answer_message(Session& session, std::string_view header, std::string_view payload);

}  // namespace mr::serving::onnx
