// The commands that ask the pipelines API; each returns the process's exit code.
#pragma once
#include "cli/pipeline_client.h"

namespace mr::cli {

// Shows a run until it ends, on a terminal as a tree that is drawn anew in place, else as lines of what changed.
// 0: it succeeded; 1: it did not, or the server is gone; 130: Ctrl-C.
int watch_run(PipelinesApi& api, const std::string& run_id);
int run_pipeline(const Settings& s);
int pipeline_command(const Settings& s);  // list, show, lint
int lineage_command(const Settings& s);

}  // namespace mr::cli
