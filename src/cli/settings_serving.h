// The flags of what serves models: which engine, the check before traffic, the Python workers; and `millrace model`.
#pragma once
#include <string>

#include "core/error.h"

namespace CLI {
class App;
}
namespace mr::serving {
struct LoadOptions;
struct RepositoryOptions;
}  // namespace mr::serving

namespace mr::cli {

struct Settings;
void add_engine_options(CLI::App* c, Settings& s);
// How many models and requests at once: --lazy, --model-memory, --max-concurrency, --max-queue, --request-timeout.
void add_repository_options(CLI::App* c, Settings& s);
Result<serving::RepositoryOptions> repository_options(const Settings& s);
void add_model_command(CLI::App& app, Settings& s);

// What a repository is told: with `workers`, Python workers whose environments lie in --data, and whose words go to the
// program's log.
Result<serving::LoadOptions> load_options(const Settings& s, bool workers = true);

}  // namespace mr::cli
