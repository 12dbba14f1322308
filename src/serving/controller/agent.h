// What KServe's agent does in front of a component's container: asked of our own predictor by arguments, else done by a
// container beside it. Pure functions.
#pragma once
#include <expected>
#include <string>

#include "serving/controller/revisions.h"

namespace mr::serving {

// Appends the arguments for `logger` and `batcher` of the component's spec to a builtin predictor's container.
std::expected<void, RuntimeRefusal> add_agent_arguments(const TemplateInput& in, kube::Object& container);
// The container that logs in front of one of another image, where the spec wants that; empty: none. `port`: of the
// container that it passes requests on to.
inline constexpr std::string_view kAgentImage = "millrace/agent";
inline constexpr int kAgentPort = 9081;
std::expected<kube::Object, RuntimeRefusal> agent_container(const TemplateInput& in, int port);
// What of it has no effect, for the component's condition; empty: all has. `builtin`: our own predictor.
std::string agent_note(const kube::Object& spec, bool builtin);

}  // namespace mr::serving
