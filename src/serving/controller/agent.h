// What KServe's agent does beside a component's container, asked of our own predictor by arguments. Pure functions.
#pragma once
#include <expected>
#include <string>

#include "serving/controller/revisions.h"

namespace mr::serving {

// Appends the arguments for `logger` and `batcher` of the component's spec to a builtin predictor's container.
std::expected<void, RuntimeRefusal> add_agent_arguments(const TemplateInput& in, kube::Object& container);
// What of it has no effect, for the component's condition; empty: all has. `builtin`: our own predictor.
std::string agent_note(const kube::Object& spec, bool builtin);

}  // namespace mr::serving
