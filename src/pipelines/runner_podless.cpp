// Steps that end without a pod: those whose outputs the cache has, importers, and the making and removing of claims.
#include <filesystem>

#include "json/parse.h"
#include "kube/names.h"
#include "pipelines/cache_key.h"
#include "pipelines/placeholders.h"
#include "pipelines/runner_state.h"
#include "time/clock.h"

namespace mr::pipelines {

namespace {

std::string day_of(std::int64_t ms) { return time::rfc3339_s(ms / 1000); }
Error error_of(Code code, std::string message) { return Error{code, std::move(message), {}, {}}; }

// An importer's metadata, with the placeholders in its texts and names, at any depth.
Result<Value> filled(const Value& v, const PlaceholderContext& c) {
  if (v.is_string()) {
    MR_TRY(auto text, substitute(v.get_string(), c));
    return Value(text);
  }
  if (v.is_array()) {
    Array out;
    for (const auto& x : v.get_array()) {
      MR_TRY(auto one, filled(x, c));
      out.push_back(std::move(one));
    }
    return out;
  }
  if (!v.is_object()) return normalize(v);
  Object out;
  for (const auto& m : v.get_object()) {
    MR_TRY(auto name, substitute(m.key(), c));
    MR_TRY(auto one, filled(m.value(), c));
    out[name] = std::move(one);
  }
  return out;
}

}  // namespace

std::vector<std::string> Runner::Impl::claims_of(const LivePtr& l, const NodeView& n) const {
  std::vector<std::string> out;
  const auto* mounts = n.component->kubernetes.if_contains("pvcMount");
  if (mounts != nullptr && mounts->is_array())
    for (const auto& m : mounts->get_array()) {
      if (auto c = json::string_or_empty(m, "constant"); !c.empty()) out.emplace_back(c);
      if (const auto* p = json::find(m, "pvcNameParameter"))
        if (auto v = l->engine->in_scope(n.path, *p); v && *v) out.push_back(to_text(**v));
    }
  if (!l->engine->facts().workspace_path.empty()) out.emplace_back("kfp-workspace");
  return out;
}

task::Task<bool> Runner::Impl::from_cache(LivePtr l, const NodeView& n, int number, std::string& note) {
  if (n.task == nullptr || !n.task->cache) {
    note = "not looked up: caching is off for this task";
    co_return false;
  }
  if (!options.cache) {
    note = "not looked up: caching is off on this server";
    co_return false;
  }
  auto key = cache_key(n, claims_of(l, n), options.cache_ignore);
  const auto& name = l->engine->plan().name;
  auto found = store.cache_find(key.digest, "pipeline/" + name, l->run.ns);
  if (!found) {
    note = "not looked up: " + found.error().message;
    co_return false;
  }
  if (!*found) {
    auto latest = store.cache_latest(name + "/" + n.key, l->run.ns);
    note = latest && *latest ? what_changed((*latest)->inputs, key.parts) : "miss because this step has not run before";
    co_return false;
  }
  auto& entry = **found;
  if (options.cache_max_age_s > 0 && options.now_ms() - entry.created_ms > options.cache_max_age_s * 1000) {
    note = fmt::format("miss because the result of {} is older than the limit", day_of(entry.created_ms));
    co_return false;
  }
  // An artifact that the step never wrote was not there the first time either; one that was deleted is a miss.
  const auto* unwritten = entry.inputs.if_contains("unwritten");
  for (const auto& [output, list] : entry.artifacts)
    for (const auto& a : list) {
      if (!files.serves(a.uri) ||
          (unwritten != nullptr && unwritten->is_array() &&
           std::ranges::find(unwritten->get_array(), Value(a.uri)) != unwritten->get_array().end()))
        continue;
      if (auto there = files.exists(a.uri); there && !*there) {
        note = fmt::format("miss because the artifact \"{}\" of the earlier result is gone", output);
        co_return false;
      }
    }
  auto e = ended(n, number, Event::Kind::cached);
  e.parameters = std::move(entry.parameters);
  e.artifacts = std::move(entry.artifacts);
  e.cached_run = entry.run_id;
  e.cached_node = entry.node;
  e.cache_note = fmt::format("hit because inputs, image and command are those of run {} ({})", entry.run_id,
                             day_of(entry.created_ms));
  co_return (co_await record(l, std::move(e))).has_value();
}

task::Task<void> Runner::Impl::import(LivePtr l, NodeView n, int number) {
  const auto& spec = n.component->importer;
  const auto& [output, type] = *n.component->output_artifacts.begin();
  auto e = ended(n, number, Event::Kind::succeeded);
  auto bad = [&](Error error) {
    e.kind = Event::Kind::failed;
    e.error = std::move(error);
  };
  Artifact a;
  a.name = output;
  a.type = spec.type.title.empty() && spec.type.instance.empty() ? type.type : spec.type;
  a.uri = spec.uri;
  if (!spec.uri_input.empty()) {
    const auto* v = n.inputs.if_contains(spec.uri_input);
    if (v != nullptr)
      a.uri = to_text(*v);
    else if (auto in = n.component->input_parameters.find(spec.uri_input);
             in != n.component->input_parameters.end() && in->second.fallback)
      a.uri = to_text(*in->second.fallback);
  }
  PlaceholderContext context;
  context.executor_input = Object{{"inputs", Object{{"parameterValues", n.inputs}}}, {"outputs", Object{}}};
  if (auto metadata = filled(spec.metadata, context))
    a.metadata = std::move(metadata->get_object());
  else
    bad(metadata.error());
  if (e.kind == Event::Kind::succeeded && a.uri.empty())
    bad(error_of(Code::invalid_argument, "the importer has no URI"));
  if (e.kind == Event::Kind::succeeded && a.uri.starts_with("oci://") && a.type.title != "system.Model")
    bad(error_of(Code::invalid_argument, "an oci:// URI can be imported as system.Model only"));
  if (e.kind == Event::Kind::succeeded && files.serves(a.uri))
    if (auto there = files.exists(a.uri); !there)
      bad(there.error());
    else if (!*there)
      bad(error_of(Code::not_found, fmt::format("there is nothing at {}", a.uri)));
  if (e.kind == Event::Kind::succeeded) {
    auto with_ids = co_await store.record_artifacts(l->run.ns, l->run.id, n.path, output, true, {a});
    e.artifacts[output] = with_ids ? std::move(*with_ids) : std::vector{a};
    if (spec.to_workspace && !l->engine->facts().workspace_path.empty())
      for (auto& one : e.artifacts[output]) {
        auto where = "/.artifacts" + local_path({.uri = one.uri});
        auto r =
            co_await files.fetch(one.uri, fmt::format("{}/steps/{}/workspace{}", options.folder, l->run.id, where));
        if (!r) bad(r.error());
        one.metadata["_kfp_workspace"] = true;
        one.custom_path = l->engine->facts().workspace_path + where;
      }
  }
  (void)co_await record(l, std::move(e));
}

// The tasks by which kfp-kubernetes makes and removes claims: no pod, a call of the API.
task::Task<void> Runner::Impl::volume_claim(LivePtr l, NodeView n, int number, bool create) {
  auto e = ended(n, number, Event::Kind::succeeded);
  auto input = [&](std::string_view name) {
    const auto* v = n.inputs.if_contains(name);
    if (v == nullptr)
      if (auto in = n.component->input_parameters.find(std::string(name));
          in != n.component->input_parameters.end() && in->second.fallback)
        return *in->second.fallback;
    return v == nullptr ? Value() : *v;
  };
  auto text = [&](std::string_view name) {
    auto v = input(name);
    return v.is_null() ? std::string() : to_text(v);
  };
  auto name = text("pvc_name");
  if (!create) {
    auto r = co_await client.remove(kube::gvr::pvcs, {l->run.ns, name});
    if (!r && r.error().reason != "NotFound") {
      e.kind = Event::Kind::failed;
      e.error = r.error();
    }
    (void)co_await record(l, std::move(e));
    co_return;
  }
  if (name.empty()) {
    auto suffix = text("pvc_name_suffix");
    name = l->run.resource_name + suffix;
  }
  auto claim = kube::make_object("v1", "PersistentVolumeClaim", l->run.ns, name);
  auto annotations = input("annotations");
  if (annotations.is_object() && !annotations.get_object().empty()) kube::metadata(claim)["annotations"] = annotations;
  auto& spec = kube::ensure(claim, "spec");
  auto modes = input("access_modes");
  spec["accessModes"] = modes.is_array() && !modes.get_array().empty() ? modes : Value(Array{"ReadWriteOnce"});
  auto size = text("size");
  spec["resources"] = Object{{"requests", Object{{"storage", size.empty() ? "1Gi" : size}}}};
  if (auto c = text("storage_class_name"); !c.empty()) {
    // A class of the cluster that the pipeline was written for: where there is none of that name, the default one
    // serves.
    auto there = co_await client.get({"storage.k8s.io", "v1", "storageclasses"}, {"", c});
    if (there || there.error().reason != "NotFound")
      spec["storageClassName"] = c;
    else
      kube::ensure(claim, "metadata.annotations")["pipelines.millrace.dev/storage-class"] = c;
  }
  if (auto v = text("volume_name"); !v.empty()) spec["volumeName"] = v;
  auto made = co_await client.create(kube::gvr::pvcs, std::move(claim));
  if (!made && made.error().reason != "AlreadyExists") {
    e.kind = Event::Kind::failed;
    e.error =
        error_of(made.error().code, fmt::format("the claim \"{}\" could not be made: {}", name, made.error().message));
  } else {
    e.parameters["name"] = name;
  }
  (void)co_await record(l, std::move(e));
}

}  // namespace mr::pipelines
