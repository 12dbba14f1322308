#include "serving/controller/agent.h"

#include <fmt/format.h>

#include "text/text.h"

namespace mr::serving {

using kube::Array;
using kube::Object;
using kube::Value;

namespace {

// Where KServe sends to when a logger names no URL.
constexpr std::string_view kDefaultSink = "http://default-broker";

bool is_said(const Object& spec, std::string_view field) {
  const auto* v = spec.if_contains(field);
  return v != nullptr && !v->is_null();
}

std::string joined(const Array& names) {
  std::string out;
  for (const auto& n : names)
    if (n.is_string()) out += (out.empty() ? "" : ",") + std::string(n.get_string());
  return out;
}

void add_argument(Array& args, std::string_view name, std::string_view value) {
  if (!value.empty()) args.push_back(Value(fmt::format("--{}={}", name, value)));
}

std::expected<void, RuntimeRefusal> add_logger(const TemplateInput& in, Array& args) {
  auto add = [&](std::string_view name, std::string_view value) { add_argument(args, name, value); };
  if (!is_said(in.spec, "logger")) return {};
  auto url = kube::text_at(in.spec, "logger.url", kDefaultSink);
  if (!url.starts_with("http://") && !url.starts_with("https://"))
    return std::unexpected(RuntimeRefusal{
        "InvalidPredictorSpec", "logger.url must be an http:// or https:// URL: no other sink is written to here"});
  add("log-url", url);
  add("log-mode", kube::text_at(in.spec, "logger.mode", "all"));
  add("inference-service", kube::name_of(in.isvc));
  add("namespace", kube::namespace_of(in.isvc));
  add("component", component_name(in.component));
  // As KServe: the pod's label, which tells a canary from what it will replace.
  auto endpoint = kube::text_at(in.spec, "labels.endpoint");
  if (endpoint.empty()) endpoint = kube::label(in.isvc, "endpoint");
  add("endpoint", endpoint);
  add("metadata-headers", joined(kube::array_at(in.spec, "logger.metadataHeaders")));
  add("metadata-annotations", joined(kube::array_at(in.spec, "logger.metadataAnnotations")));
  return {};
}

}  // namespace

std::expected<void, RuntimeRefusal> add_agent_arguments(const TemplateInput& in, Object& container) {
  auto& list = container["args"];
  if (!list.is_array()) list = Array{};
  auto& args = list.get_array();
  if (auto ok = add_logger(in, args); !ok) return ok;
  if (is_said(in.spec, "batcher")) {
    add_argument(args, "enable-batcher", "true");
    for (auto [argument, field] :
         {std::pair{"max-batchsize", "batcher.maxBatchSize"}, std::pair{"max-latency", "batcher.maxLatency"},
          std::pair{"batch-timeout", "batcher.timeout"}})
      if (auto n = kube::int_at(in.spec, field); n > 0) add_argument(args, argument, std::to_string(n));
  }
  return {};
}

std::expected<Object, RuntimeRefusal> agent_container(const TemplateInput& in, int port) {
  if (!is_said(in.spec, "logger")) return Object{};
  Array args;
  add_argument(args, "component-port", std::to_string(port));
  if (auto ok = add_logger(in, args); !ok) return std::unexpected(ok.error());
  return Object{{"name", "agent"},
                {"image", kAgentImage},
                {"args", std::move(args)},
                {"ports", Array{Object{{"name", "agent-port"}, {"containerPort", kAgentPort}, {"protocol", "TCP"}}}}};
}

std::string agent_note(const Object& spec, bool builtin) {
  std::string note;
  auto add = [&](std::string_view text) { note += (note.empty() ? "" : "; ") + std::string(text); };
  if (is_said(spec, "batcher") && !builtin) add("batcher has no effect on a container of another image");
  if (!kube::object_at(spec, "logger.storage").empty())
    add("logger.storage has no effect here: events go to logger.url");
  return note;
}

}  // namespace mr::serving
