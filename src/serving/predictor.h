// Predictors as containers of the node: image `millrace/predictor` serves one model from inside this process, and image
// `millrace/storage-initializer` fetches a model into a volume for containers of other images.
// Ownership: the node owns the containers; Loops and the options' functions must outlive them. Used on the node's loop;
// reading models and binding ports happen on a pool of their own.
#pragma once
#include <memory>

#include "node/node.h"
#include "serving/controller/storage.h"
#include "serving/load.h"
#include "serving/model_cache.h"
#include "task/loop.h"

namespace mr::serving {

struct PredictorOptions {
  StorageOptions storage;
  std::shared_ptr<ModelCache> cache;  // of fetched models
  bool access_log = true;             // a line a request in the container's log
  LoadOptions load;                   // whose log, variables and memory are each container's own
};

// Arguments: --model_name, --storage_uri or --model_dir, --http_port (8080), --queue_port (8012), --grpc_port (8081),
// --max_concurrency, --max_queue, --request_timeout (seconds); log_options() of agent.h; and of the batcher:
// --enable-batcher, --max-batchsize, --max-latency (milliseconds), --batch-timeout (seconds). The container exits with
// 1 and the reason as its last line when the model cannot be loaded.
std::shared_ptr<node::BuiltinRuntime> make_predictor_runtime(task::Loops& loops, PredictorOptions options);

// Arguments: SOURCE_URI TARGET_FOLDER [SOURCE TARGET]..., as KServe's initializer.
std::shared_ptr<node::BuiltinRuntime> make_initializer_runtime(PredictorOptions options);

// "--name=value" and "--name value" in a container's args (after its command); empty when absent.
std::string argument(const kube::Object& container, std::string_view name);

// A handler that writes an access line for each request to `log` and answers /healthz.
http::Handler with_access_lines(http::Handler inner, node::LogSink log);

}  // namespace mr::serving
