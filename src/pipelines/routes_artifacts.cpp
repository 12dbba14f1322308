// Artifacts and who made and read them, as the proposal for the original's next version has it (kubeflow/pipelines
// 12147).
#include "pipelines/routes.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

Result<std::int64_t> artifact_number(std::string_view text) {
  auto n = text::to_i64(text);
  if (!n || *n < 1) return fail(Code::not_found, fmt::format("Artifact {} not found", text));
  return *n;
}

Answer get_artifact(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto id, artifact_number(c.param(0)));
  MR_CO_TRY(auto a, s.store.artifact(id));
  co_return write_message(wire::kArtifact, to_message(a));
}

Answer list_artifacts_of(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto q, read_list_query(c.query, kArtifacts));
  const auto run_id = c.arg("run_id");
  if (run_id.empty()) {
    q.ns = s.namespace_or_default(c.arg("namespace"));
  } else {
    MR_CO_CHECK(s.store.run(run_id));
    q.ns = c.arg("namespace");
  }
  MR_CO_TRY(auto page, s.store.artifacts(q, run_id));
  co_return list_answer(wire::kListArtifacts, "artifacts", page);
}

Answer list_artifact_tasks(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto q, read_list_query(c.query, kArtifactUses));
  std::int64_t artifact = 0;
  if (const auto id = c.arg("artifact_id"); !id.empty()) {
    MR_CO_TRY(artifact, artifact_number(id));
  }
  MR_CO_TRY(auto page, s.store.artifact_uses(q, c.arg("run_id"), artifact));
  co_return list_answer(wire::kListArtifactTasks, "artifact_tasks", page);
}

}  // namespace

void add_artifact_routes(http::Router& router, Service::Impl& s) {
  using enum http::Method;
  add_endpoint(router, s, get, "/artifacts", list_artifacts_of, "Failed to list artifacts");
  add_endpoint(router, s, get, "/artifacts/{artifact_id}", get_artifact, "Failed to get an artifact");
  add_endpoint(router, s, get, "/artifact_tasks", list_artifact_tasks, "Failed to list artifact tasks");
}

}  // namespace mr::pipelines
