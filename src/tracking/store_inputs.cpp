#include "crypto/random.h"
#include "tracking/errors.h"
#include "tracking/store.h"
#include "tracking/validate.h"

namespace mr::tracking::store {

Result<> log_inputs(sql::Connection& c, const std::string& run_id, const std::vector<DatasetInput>& datasets,
                    const std::vector<std::string>& models) {
  MR_TRY(auto run, active_run(c, run_id));
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& in : datasets) {
    const auto& d = in.dataset;
    if (!seen.emplace(d.name, d.digest).second) continue;
    std::string uuid;
    MR_CHECK(c.query("SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?", "s",
                     {run.experiment_id, d.name, d.digest}, [&](const sql::Row& r) { uuid = r.text(0); }));
    if (uuid.empty()) {
      uuid = crypto::random_hex(16);
      MR_CHECK(
          c.exec("INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, "
                 "dataset_source, dataset_schema, dataset_profile) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                 uuid, run.experiment_id, d.name, d.digest, d.source_type, d.source, d.schema, d.profile));
    }
    auto input = crypto::random_hex(16);
    MR_TRY(auto n, c.exec("INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, "
                          "step) VALUES (?, 'DATASET', ?, 'RUN', ?, 0) ON CONFLICT DO NOTHING",
                          input, uuid, run_id));
    if (n == 0) continue;  // linked before: its tags stay as they are
    for (const auto& t : in.tags) {
      auto r = c.exec("INSERT INTO input_tags (input_uuid, name, value) VALUES (?, ?, ?)", input, t.key, t.value);
      if (!r && r.error().reason == "CONSTRAINT")
        return bad_request(fmt::format("The tag key {} is given more than once", python_repr(t.key)));
      if (!r) return std::unexpected(r.error());
    }
  }
  for (const auto& m : models)
    MR_CHECK(
        c.exec("INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step) VALUES "
               "(?, 'RUN_INPUT', ?, 'MODEL_INPUT', ?, 0) ON CONFLICT DO NOTHING",
               crypto::random_hex(16), run_id, m));
  return {};
}

Result<> log_outputs(sql::Connection& c, const std::string& run_id, const std::vector<ModelOutput>& models) {
  MR_CHECK(active_run(c, run_id));
  for (const auto& m : models) {
    auto r = c.exec(
        "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step) VALUES (?, "
        "'RUN_OUTPUT', ?, 'MODEL_OUTPUT', ?, ?)",
        crypto::random_hex(16), run_id, m.model_id, m.step);
    if (!r && r.error().reason == "CONSTRAINT")
      return bad_request(
          "(sqlite3.IntegrityError) UNIQUE constraint failed: inputs.source_type, inputs.source_id, "
          "inputs.destination_type, inputs.destination_id");
    if (!r) return std::unexpected(r.error());
  }
  return {};
}

Result<std::vector<DatasetSummary>> search_datasets(sql::Connection& c, const std::vector<std::int64_t>& experiments) {
  std::vector<DatasetSummary> out;
  constexpr std::size_t limit = 1000;
  for (auto e : experiments) {
    MR_CHECK(
        c.query("SELECT DISTINCT d.experiment_id, d.name, d.digest, t.value FROM datasets d LEFT JOIN inputs i ON "
                "i.source_id = d.dataset_uuid "
                "LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context' WHERE "
                "d.experiment_id = ? LIMIT 1000",
                "isss", {e}, [&](const sql::Row& r) {
                  if (out.size() < limit) out.push_back({r.i64(0), r.text(1), r.text(2), r.opt_text(3)});
                }));
  }
  return out;
}

Result<> load_inputs(sql::Connection& c, std::vector<Run>& runs, bool models) {
  std::unordered_map<std::string, Run*> by_id;
  std::vector<std::string> ids;
  for (auto& r : runs) {
    by_id[r.info.run_id] = &r;
    ids.push_back(r.info.run_id);
  }
  std::unordered_map<std::string, Tags> tags;  // by input
  struct Slot {
    Run* run;
    std::size_t index;
    std::string input;
  };
  std::vector<Slot> slots;
  MR_CHECK(for_id_groups(ids, [&](const std::string& in, std::span<const sql::Arg> args) -> Result<> {
    MR_CHECK(c.query(
        "SELECT i.destination_id, i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source, "
        "d.dataset_schema, d.dataset_profile FROM inputs i "
        "JOIN datasets d ON d.dataset_uuid = i.source_id WHERE i.source_type = 'DATASET' AND i.destination_type = "
        "'RUN' AND i.destination_id IN " +
            in + " ORDER BY i.rowid",
        "ssssssss", args, [&](const sql::Row& r) {
          auto* run = by_id[r.text(0)];
          slots.push_back({run, run->dataset_inputs.size(), r.text(1)});
          run->dataset_inputs.push_back({{}, {r.text(2), r.text(3), r.text(4), r.text(5), r.text(6), r.text(7)}});
        }));
    if (models)
      MR_CHECK(
          c.query("SELECT source_id, destination_id FROM inputs WHERE source_type = 'RUN_INPUT' AND destination_type = "
                  "'MODEL_INPUT' AND source_id IN " +
                      in + " ORDER BY destination_id",
                  "ss", args, [&](const sql::Row& r) { by_id[r.text(0)]->model_inputs.push_back(r.text(1)); }));
    return c.query(
        "SELECT source_id, destination_id, step FROM inputs WHERE source_type = 'RUN_OUTPUT' AND destination_type = "
        "'MODEL_OUTPUT' AND source_id IN " +
            in + " ORDER BY destination_id",
        "ssi", args, [&](const sql::Row& r) { by_id[r.text(0)]->model_outputs.push_back({r.text(1), r.i64(2)}); });
  }));
  std::vector<std::string> inputs;
  for (const auto& s : slots) inputs.push_back(s.input);
  MR_CHECK(for_id_groups(inputs, [&](const std::string& in, std::span<const sql::Arg> args) {
    return c.query("SELECT input_uuid, name, value FROM input_tags WHERE input_uuid IN " + in + " ORDER BY name", "sss",
                   args, [&](const sql::Row& r) { tags[r.text(0)].push_back({r.text(1), r.text(2)}); });
  }));
  for (const auto& s : slots) s.run->dataset_inputs[s.index].tags = tags[s.input];
  return {};
}

}  // namespace mr::tracking::store
