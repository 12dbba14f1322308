// Where artifacts come from: from an artifact to the step that made it, to what that step read, and on.
#include "pipelines/store_parts.h"

namespace mr::pipelines {

namespace {
constexpr std::string_view kUseColumns = "n, artifact, run_id, node, key, output, created_ms";
constexpr std::string_view kUseTypes = "iisssii";
constexpr std::int64_t kMostReaders = 100;

ArtifactUse use_of(const sql::Row& r) {
  return {r.i64(0), r.i64(1), r.text(2), r.text(3), r.text(4), r.i64(5) != 0, r.i64(6)};
}

// What the step (run, node) read and made.
Result<LineageStep> load_step(sql::Connection& c, const ArtifactUse& maker) {
  LineageStep step;
  step.run_id = maker.run_id;
  step.node = maker.node;
  MR_CHECK(c.query("SELECT name, pipeline_name, ns, resource_name FROM runs WHERE id = ?", "ssss", {maker.run_id},
                   [&](const sql::Row& r) {
                     step.run_name = r.text(0);
                     step.pipeline_name = r.text(1);
                     step.ns = r.text(2);
                   }));
  MR_CHECK(c.query(fmt::format("SELECT {} FROM artifact_uses WHERE run_id = ? AND node = ? ORDER BY n", kUseColumns),
                   kUseTypes, {maker.run_id, maker.node}, [&](const sql::Row& r) {
                     auto u = use_of(r);
                     (u.output ? step.outputs : step.inputs).push_back(std::move(u));
                   }));
  return step;
}
}  // namespace

Result<std::int64_t> Store::find_artifact(const std::string& ns, const std::vector<std::string>& uris) {
  return db_->read([&](sql::Connection& c) -> Result<std::int64_t> {
    for (const auto& uri : uris) {
      std::int64_t id = 0;
      // Of several (types, namespaces) the newest.
      MR_CHECK(c.query("SELECT n FROM artifacts WHERE uri = ? AND (? = '' OR ns = ?) ORDER BY n DESC LIMIT 1", "i",
                       {uri, ns, ns}, [&](const sql::Row& r) { id = r.i64(0); }));
      if (id != 0) return id;
    }
    return rows::missing("Artifact", uris.empty() ? "" : uris.front());
  });
}

Result<Lineage> Store::lineage(std::int64_t artifact_id, std::size_t most) {
  return db_->read([&](sql::Connection& c) -> Result<Lineage> {
    Lineage l;
    std::set<std::int64_t> seen{artifact_id};
    std::set<std::pair<std::string, std::string>> steps;
    std::deque<std::int64_t> open{artifact_id};
    for (; !open.empty(); open.pop_front()) {
      std::optional<ArtifactRecord> a;
      MR_CHECK(rows::find_artifact_row(c, open.front(), a));
      if (!a && l.artifacts.empty()) return rows::missing("Artifact", std::to_string(artifact_id));
      if (!a) continue;
      l.artifacts.push_back(*std::move(a));
      // An imported URI is "made" by every import: the newest tells.
      std::optional<ArtifactUse> maker;
      MR_CHECK(
          c.query(fmt::format("SELECT {} FROM artifact_uses WHERE artifact = ? AND output = 1 ORDER BY n DESC LIMIT 1",
                              kUseColumns),
                  kUseTypes, {open.front()}, [&](const sql::Row& r) { maker = use_of(r); }));
      if (!maker || !steps.emplace(maker->run_id, maker->node).second) continue;
      MR_TRY(auto step, load_step(c, *maker));
      for (const auto& u : step.inputs) {
        if (seen.contains(u.artifact_id)) continue;
        if (seen.size() >= most) {
          l.cut = true;
          continue;
        }
        seen.insert(u.artifact_id);
        open.push_back(u.artifact_id);
      }
      l.steps.push_back(std::move(step));
    }
    MR_CHECK(
        c.query(fmt::format("SELECT {} FROM artifact_uses WHERE artifact = ? AND output = 0 ORDER BY n DESC LIMIT ?",
                            kUseColumns),
                kUseTypes, {artifact_id, kMostReaders}, [&](const sql::Row& r) { l.readers.push_back(use_of(r)); }));
    return l;
  });
}

}  // namespace mr::pipelines
