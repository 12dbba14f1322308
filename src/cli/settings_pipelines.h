// The flags of the commands that ask the pipelines API: run, pipeline, lineage.
#pragma once

namespace CLI {
class App;
}

namespace mr::cli {

struct Settings;
void add_pipeline_commands(CLI::App& app, Settings& s);

}  // namespace mr::cli
