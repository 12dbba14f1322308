// Records as wire messages (see message.h), and request messages as records. Pure functions.
#pragma once
#include <span>

#include "pipelines/engine.h"
#include "pipelines/message.h"
#include "pipelines/store.h"

namespace mr::pipelines {

Object to_message(const Experiment& e);
Object to_message(const Pipeline& p);
Object to_message(const Version& v);
// `tasks`: what run_details.task_details hold; null: no details.
Object to_message(const Run& r, const Array* tasks = nullptr);
Object to_message(const RecurringRun& r);
Object to_message(const ArtifactRecord& a);
Object to_message(const ArtifactUse& u);
Object to_message(const Error& e);  // google.rpc.Status
// One entry a node. `more`: with what the original's API does not tell (parameters, the cache's word, attempts).
Array task_messages(const std::string& run_id, std::span<const NodeView> nodes, bool more);

// What a client may say of each; the rest of a message is the server's own and ignored.
Experiment experiment_from(const Object& m);
Pipeline pipeline_from(const Object& m);
Version version_from(const Object& m);
Run run_from(const Object& m);
// Errors: invalid_argument, a trigger without times.
Result<RecurringRun> recurring_from(const Object& m);

}  // namespace mr::pipelines
