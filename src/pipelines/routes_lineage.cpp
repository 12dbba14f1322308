// Where an artifact comes from, by its id or its URI. Not part of the original's API.
#include "json/parse.h"
#include "pipelines/routes.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

constexpr std::size_t kMostArtifacts = 1000;  // of one answer

Object use_message(const ArtifactUse& u) { return {{"key", u.key}, {"artifact_id", std::to_string(u.artifact_id)}}; }

Array use_messages(const std::vector<ArtifactUse>& uses) {
  Array out;
  for (const auto& u : uses) out.push_back(use_message(u));
  return out;
}

std::string lineage_answer(const Lineage& l) {
  std::string out = R"({"artifacts":[)";
  for (bool first = true; const auto& a : l.artifacts) {
    if (!std::exchange(first, false)) out += ',';
    out += write_message(wire::kArtifact, to_message(a));
  }
  Array steps, readers;
  for (const auto& s : l.steps)
    steps.push_back(Object{{"run_id", s.run_id},
                           {"run_name", s.run_name},
                           {"pipeline_name", s.pipeline_name},
                           {"namespace", s.ns},
                           {"task_id", task_id(s.run_id, s.node)},
                           {"path", s.node},
                           {"inputs", use_messages(s.inputs)},
                           {"outputs", use_messages(s.outputs)}});
  for (const auto& u : l.readers) {
    auto m = use_message(u);
    m["run_id"] = u.run_id;
    m["task_id"] = task_id(u.run_id, u.node);
    m["path"] = u.node;
    readers.push_back(std::move(m));
  }
  out += fmt::format(R"(],"steps":{},"readers":{},"truncated":{}}})", json::serialize(Value(std::move(steps))),
                     json::serialize(Value(std::move(readers))), l.cut);
  return out;
}

Answer lineage_of_artifact(Service::Impl& s, Call& c) {
  auto id = text::to_i64(c.param(0));
  if (!id || *id < 1) co_return fail(Code::not_found, fmt::format("Artifact {} not found", c.param(0)));
  MR_CO_TRY(auto l, s.store.lineage(*id, kMostArtifacts));
  co_return lineage_answer(l);
}

Answer lineage_of_uri(Service::Impl& s, Call& c) {
  const auto uri = c.arg("uri");
  if (uri.empty()) co_return invalid("Invalid input error: the parameter uri is empty");
  MR_CO_TRY(auto id, s.store.find_artifact(c.arg("namespace"), names_of_uri(uri)));
  MR_CO_TRY(auto l, s.store.lineage(id, kMostArtifacts));
  co_return lineage_answer(l);
}

}  // namespace

std::vector<std::string> names_of_uri(std::string_view uri) {
  // One bucket has several schemes, and steps see it below a folder.
  constexpr std::string_view kSchemes[] = {"s3", "minio"};
  while (uri.size() > 1 && uri.ends_with('/')) uri.remove_suffix(1);
  std::string rest;  // bucket and key
  for (auto scheme : kSchemes) {
    if (auto prefix = fmt::format("{}://", scheme); uri.starts_with(prefix)) rest = uri.substr(prefix.size());
    if (auto prefix = fmt::format("/{}/", scheme); uri.starts_with(prefix)) rest = uri.substr(prefix.size());
  }
  if (uri.starts_with("mlflow-artifacts:/")) {
    auto path = uri.substr(uri.find('/'));
    while (path.starts_with('/')) path.remove_prefix(1);
    rest = fmt::format("mlflow-artifacts/{}", path);
  }
  std::vector<std::string> out{std::string(uri)};
  auto add = [&](std::string name) {
    if (std::ranges::find(out, name) == out.end()) out.push_back(std::move(name));
  };
  if (rest.empty()) {
    // Some other scheme: the folders above, down to its host.
    auto host = uri.find("://");
    auto least = host == std::string_view::npos ? 1 : uri.find('/', host + 3);
    for (auto at = uri.rfind('/'); at != std::string_view::npos && at > least && out.size() < 64;
         at = uri.rfind('/', at - 1))
      add(std::string(uri.substr(0, at)));
    return out;
  }
  for (std::string_view path = rest; path.contains('/') && out.size() < 64; path = path.substr(0, path.rfind('/')))
    for (auto scheme : kSchemes) add(fmt::format("{}://{}", scheme, path));
  return out;
}

void add_lineage_routes(http::Router& router, Service::Impl& s) {
  using enum http::Method;
  add_endpoint(router, s, get, "/artifacts/{artifact_id}/lineage", lineage_of_artifact,
               "Failed to find where artifact {0} comes from");
  add_endpoint(router, s, get, "/lineage", lineage_of_uri, "Failed to find where an artifact comes from");
}

}  // namespace mr::pipelines
