// The filter grammar, and what it becomes: SQL that the database takes, whatever the filter was.
#include "log/log.h"
#include "sql/sql.h"
#include "temp_dir.h"
#include "text/text.h"
#include "tracking/filter.h"
#include "tracking/search.h"
#include "tracking/service.h"

namespace {

using namespace mr;
using namespace mr::tracking;

struct Schema {
  testing::TempDir dir;
  std::unique_ptr<sql::Connection> connection;
  Schema() {
    log::configure({.level = log::Level::off});
    auto t = Tracking::open({.database = dir.file("t.db"), .artifact_root = dir.path()}, nullptr, {});
    if (!t) std::abort();
    (*t)->stop();
    auto c = sql::Connection::open_sqlite(dir.file("t.db"), true);
    if (!c) std::abort();
    connection = std::move(*c);
  }
};

void run(const Result<SearchSql>& s, const char* table) {
  if (!s) {
    if (s.error().message.empty()) std::abort();
    return;
  }
  static Schema schema;
  std::string sql = fmt::format("SELECT 1 FROM {}{} WHERE 1=1{}{}{} LIMIT 1", table, s->joins.sql, s->where.sql,
                                s->order.empty() ? "" : " ORDER BY ", s->order);
  auto args = s->joins.bound();
  auto where = s->where.bound();
  args.insert(args.end(), where.begin(), where.end());
  auto r = schema.connection->query(sql, "i", args, [](const sql::Row&) {});
  if (!r) {
    std::fprintf(stderr, "%s\n%s\n%s\n", sql.c_str(), r.error().message.c_str(), r.error().detail.c_str());
    std::abort();
  }
}

}  // namespace

// First byte: which search. First line: the filter. Each further line: an order_by key.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto lines = text::split(input, '\n');
  std::vector<std::string> order;
  for (std::size_t i = 1; i < lines.size() && i < 22; ++i) order.emplace_back(lines[i]);
  (void)parse_filter(input, (data[0] & 8) != 0);
  for (const auto& o : order) (void)parse_order_by(o);
  switch (data[0] % 5) {
    case 0:
      run(run_search(lines[0], order), "runs r");
      break;
    case 1:
      run(experiment_search(lines[0], order), "experiments e");
      break;
    case 2:
      run(registered_model_search(lines[0], order), "registered_models m");
      break;
    case 3:
      run(model_version_search(lines[0], order), "model_versions v");
      break;
    case 4: {
      std::vector<ModelOrder> by;
      for (const auto& o : order) by.push_back({o, o.size() % 2 == 0, o.size() % 3 == 0 ? "d" : "", ""});
      run(logged_model_search(
              lines[0], order.size() > 1 ? std::vector<ModelDataset>{{"d", "x"}} : std::vector<ModelDataset>{}, by),
          "logged_models l");
      break;
    }
    default:
      break;
  }
  return 0;
}
