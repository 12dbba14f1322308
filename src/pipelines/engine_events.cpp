// Events as they are kept.
#include <array>

#include "json/parse.h"
#include "pipelines/engine.h"

namespace mr::pipelines {

namespace {
constexpr std::array<std::string_view, 7> kKinds = {"started",   "succeeded", "failed",  "cached",
                                                    "terminate", "retry",     "deadline"};
}  // namespace

Value to_json(const Event& e) {
  Object o{{"kind", kKinds[static_cast<std::size_t>(e.kind)]}, {"time", e.time_ms}};
  auto text = [&](std::string_view name, const std::string& v) {
    if (!v.empty()) o[name] = v;
  };
  text("node", e.node);
  text("pod", e.pod);
  text("uuid", e.uuid);
  text("cache_note", e.cache_note);
  text("cached_run", e.cached_run);
  text("cached_node", e.cached_node);
  if (e.attempt != 0) o["attempt"] = e.attempt;
  if (!e.parameters.empty()) o["parameters"] = e.parameters;
  if (!e.artifacts.empty()) {
    Object all;
    for (const auto& [name, list] : e.artifacts) {
      Array items;
      for (const auto& a : list) items.push_back(to_json(a));
      all[name] = std::move(items);
    }
    o["artifacts"] = std::move(all);
  }
  if (e.error) o["error"] = Object{{"code", static_cast<int>(e.error->code)}, {"message", e.error->message}};
  return o;
}

Result<Event> event_from_json(const Value& v) {
  Event e;
  auto kind = json::string_or_empty(v, "kind");
  auto it = std::ranges::find(kKinds, kind);
  if (it == kKinds.end()) return fail(Code::data_loss, fmt::format("an event of the unknown kind \"{}\"", kind));
  e.kind = static_cast<Event::Kind>(it - kKinds.begin());
  auto integer = [&](std::string_view name) {
    const auto* x = json::find(v, name);
    return x != nullptr && x->is_int64() ? x->get_int64() : std::int64_t{0};
  };
  e.time_ms = integer("time");
  e.attempt = static_cast<int>(integer("attempt"));
  auto text = [&](std::string_view name) { return std::string(json::string_or_empty(v, name)); };
  e.node = text("node");
  e.pod = text("pod");
  e.uuid = text("uuid");
  e.cache_note = text("cache_note");
  e.cached_run = text("cached_run");
  e.cached_node = text("cached_node");
  if (const auto* p = json::find(v, "parameters"); p != nullptr && p->is_object()) e.parameters = p->get_object();
  if (const auto* a = json::find(v, "artifacts"); a != nullptr && a->is_object())
    for (const auto& member : a->get_object()) {
      auto& list = e.artifacts[std::string(member.key())];
      if (!member.value().is_array()) continue;
      for (const auto& item : member.value().get_array()) {
        MR_TRY(auto artifact, artifact_from_json(item));
        list.push_back(std::move(artifact));
      }
    }
  if (const auto* x = json::find(v, "error"); x != nullptr && x->is_object()) {
    Error error;
    const auto* code = json::find(*x, "code");
    error.code = code != nullptr && code->is_int64() ? static_cast<Code>(code->get_int64()) : Code::internal;
    error.message = std::string(json::string_or_empty(*x, "message"));
    e.error = std::move(error);
  }
  return e;
}

}  // namespace mr::pipelines
