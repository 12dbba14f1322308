// The flags of what serves models: which engine, the check before traffic, the Python workers; and `millrace model`.
#pragma once
#include <memory>
#include <string>

#include "core/error.h"

namespace CLI {
class App;
}
namespace mr::serving {
struct LoadOptions;
class RequestLog;
struct RepositoryOptions;
class ModelCache;
}  // namespace mr::serving

namespace mr::cli {

struct Settings;
void add_engine_options(CLI::App* c, Settings& s);
// How many models and requests at once: --lazy, --model-memory, --max-concurrency, --max-queue, --request-timeout.
void add_repository_options(CLI::App* c, Settings& s);
Result<serving::RepositoryOptions> repository_options(const Settings& s);
// Requests as CloudEvents: --log-url, --log-mode and what else KServe's agent is told.
void add_request_log_options(CLI::App* c, Settings& s);
// V1 predictions in batches: --enable-batcher, --max-batchsize, --max-latency.
void add_batcher_options(CLI::App* c, Settings& s);
// Null without --log-url. `port`: of the answers, for the events' source.
Result<std::shared_ptr<serving::RequestLog>> request_log(const Settings& s, int port);
// The cache of fetched models: --model-cache, --model-cache-dir.
Result<std::shared_ptr<serving::ModelCache>> model_cache(const Settings& s);
void add_model_command(CLI::App& app, Settings& s);
// Not for users: models' workers are started with it.
CLI::App* add_onnx_worker_command(CLI::App& app, Settings& s);

// What a repository is told: with `workers`, Python workers whose environments lie in --data, and whose words go to the
// program's log.
Result<serving::LoadOptions> load_options(const Settings& s, bool workers = true);

}  // namespace mr::cli
