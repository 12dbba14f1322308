// What the store_*.cpp share: documents as texts, kept specs, the words of what is missing. Internal to the store.
#pragma once
#include "json/parse.h"
#include "pipelines/list_query.h"
#include "pipelines/store.h"

namespace mr::pipelines::rows {

// "" stands for what is empty or not there.
std::string object_text(const Object& o);
Object text_object(std::string_view text);
std::string error_text(const std::optional<Error>& e);
std::optional<Error> text_error(std::string_view text);
std::string history_text(const std::vector<StateChange>& history);
std::vector<StateChange> text_history(std::string_view text);

// Keeps a spec once and gives its hash; "" for null.
Result<std::string> keep_spec(sql::Connection& c, const Value& spec);
Result<Value> load_spec(sql::Connection& c, const std::string& hash);
// Removes the spec when no row names it any more.
Result<> drop_spec(sql::Connection& c, const std::string& hash);

inline std::unexpected<Error> missing(std::string_view kind, std::string_view id) {
  return fail(Code::not_found, fmt::format("{} {} not found", kind, id));
}
inline bool is_duplicate(const Error& e) { return e.reason == "CONSTRAINT"; }

constexpr std::string_view stored(bool archived) { return archived ? "ARCHIVED" : "AVAILABLE"; }

// "ns = ?", or what holds for all rows.
SqlText ns_scope(const std::string& ns);

// Columns of a whole row of `runs`, their types, and the row as a Run without its spec. kRunSpec: the hash's column.
extern const std::string_view kRunColumns, kRunTypes;
constexpr std::size_t kRunSpec = 22;
Run read_run(const sql::Row& r);
Result<> insert_run(sql::Connection& c, Run& run);
Result<std::optional<Run>> find_run(sql::Connection& c, const std::string& id);  // with its spec

Result<> write_tags(sql::Connection& c, const std::string& owner, const std::map<std::string, std::string>& tags);
Result<std::map<std::string, std::string>> read_tags(sql::Connection& c, const std::string& owner);
Result<> find_artifact_row(sql::Connection& c, std::int64_t id, std::optional<ArtifactRecord>& out);
Result<Experiment> load_experiment(sql::Connection& c, const std::string& id);

}  // namespace mr::pipelines::rows
