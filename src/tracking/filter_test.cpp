// The filter grammar as data: what MLflow 3.18 was seen to do with each text.
#include "tracking/filter.h"

#include "tracking/search.h"

namespace mr::tracking {
namespace {

using Kind = Comparison::Kind;

// "type|key|op|value" of each comparison, joined by blanks; lists as (a,b).
std::string shape(std::string_view filter) {
  auto r = parse_filter(filter, true);
  if (!r) return "error: " + r.error().message;
  std::string out;
  for (const auto& c : *r) {
    if (!out.empty()) out += "  ";
    std::string value = c.value;
    if (c.kind == Kind::list) {
      value = "(";
      for (std::size_t i = 0; i < c.list.size(); ++i) value += (i > 0 ? "," : "") + c.list[i];
      value += ")";
    }
    out += c.type + "|" + c.key + "|" + c.op + "|" + value;
  }
  return out;
}

TEST(Filter, ParsesWhatMlflowParses) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},
      {"metrics.acc > 0.5", "metrics|acc|>|0.5"},
      {"metric.acc>=1", "metric|acc|>=|1"},
      {"metrics.acc >= 1e-3", "metrics|acc|>=|1e-3"},
      {"metrics.acc = -1.5", "metrics|acc|=|-1.5"},
      {"metrics.acc > .5", "metrics|acc|>|.5"},
      {"metrics.acc > 5.", "metrics|acc|>|5."},
      {"metrics.acc > 1E5", "metrics|acc|>|1E5"},
      {"metrics.`my acc` < 3", "metrics|my acc|<|3"},
      {"metrics.\"my acc\" < 3", "metrics|my acc|<|3"},
      {"metrics.'my acc' < 3", "metrics|my acc|<|3"},
      {"metrics.a.b.c < 3", "metrics|a.b.c|<|3"},
      {"metrics.1a < 3", "metrics|1a|<|3"},
      {"metrics.`a``b` < 3", "metrics|a``b|<|3"},
      {"metrics. < 3", "metrics||<|3"},
      {"metrics < 3", "|metrics|<|3"},
      {"params.p = '1'", "params|p|=|1"},
      {"params.p = \"1\"", "params|p|=|1"},
      {"params.p != 'it''s'", "params|p|!=|it''s"},
      {"params.p = 'a\\'b'", "params|p|=|a\\'b"},
      {"params.p = \"it's\"", "params|p|=|it's"},
      {"params.p LIKE '%a_'", "params|p|LIKE|%a_"},
      {"params.p iLiKe 'a'", "params|p|ILIKE|a"},
      {"params.p IS NULL", "params|p|IS NULL|"},
      {"params.p is not null", "params|p|IS NOT NULL|"},
      {"params.p IS NOT NULL AND params.q='2'", "params|p|IS NOT NULL|  params|q|=|2"},
      {"tag.`mlflow.user` ILIKE '%x%'", "tag|mlflow.user|ILIKE|%x%"},
      {"tags.\"a b\" = 'v'", "tags|a b|=|v"},
      {"tags.mlflow.source.name = 'x' AND tags.`a.b` = 'c'", "tags|mlflow.source.name|=|x  tags|a.b|=|c"},
      {"`params`.p = 'x'", "params|p|=|x"},
      {"status = 'RUNNING'", "|status|=|RUNNING"},
      {"`run name` = 'x'", "|run name|=|x"},
      {"run_id IN ('a','b')", "|run_id|IN|(a,b)"},
      {"run_id in (\"a\")", "|run_id|IN|(a)"},
      {"run_id NOT IN ('a', 'b')", "|run_id|NOT IN|(a,b)"},
      {"run_id IN ('a' 'b', 'it''s')", "|run_id|IN|(ab,its)"},
      {"run_id IN ('x)', 'y',)", "|run_id|IN|(x),y)"},
      {"metrics.m = 10000000000000000000000", "metrics|m|=|10000000000000000000000"},
      {"start_time > -5", "|start_time|>|-5"},
      {"params.p = ''", "params|p|=|"},
      {"params.\xC3\xA9 = '\xC3\xBC'", "params|\xC3\xA9|=|\xC3\xBC"},
      {"metrics.timestamp > 1", "metrics|timestamp|>|1"},
      {"params.user = 'a'", "params|user|=|a"},
      // AND is noise, blanks are anything.
      {"params.p='1' AnD metrics.m>1", "params|p|=|1  metrics|m|>|1"},
      {"params.p='1' metrics.m>1", "params|p|=|1  metrics|m|>|1"},
      {"params.p='1'AND params.q='2'", "params|p|=|1  params|q|=|2"},
      {"AND params.p='1'", "params|p|=|1"},
      {"params.p='1' AND", "params|p|=|1"},
      {"params.p='1' AND AND params.q='2'", "params|p|=|1  params|q|=|2"},
      {"\t\nparams.p\n=\n'1'", "params|p|=|1"},
      {"params.lr = '0.01' AND params.`batch size` = \"32\" AND tags.x ILIKE '%Y%' AND attributes.start_time >= "
       "1700000000000",
       "params|lr|=|0.01  params|batch size|=|32  tags|x|ILIKE|%Y%  attributes|start_time|>=|1700000000000"},
      // One run of operator characters is one operator; whether it is taken is for the search.
      {"metrics.acc == 1", "metrics|acc|==|1"},
      {"metrics.acc <> 1", "metrics|acc|<>|1"},
  };
  for (auto [filter, want] : cases) EXPECT_EQ(shape(filter), want) << filter;
}

TEST(Filter, RefusesTheRestByNamingIt) {
  const std::pair<const char*, const char*> cases[] = {
      {"   ", "Invalid filter '   '. Could not be parsed."},
      {"params.p='1' OR metrics.m>1", "Invalid clause(s) in filter string: 'OR'"},
      {"NOT params.p='1'", "Invalid clause(s) in filter string: 'NOT'"},
      {"params.p='1';", "Invalid clause(s) in filter string: ';'"},
      {"params.p", "Invalid clause(s) in filter string: 'params.p'"},
      {"metrics.a-b < 3", "Invalid comparison clause. Expected 'Identifier' found 'metrics.a-"},
  };
  for (auto [filter, want] : cases)
    EXPECT_TRUE(shape(filter).starts_with(std::string("error: ") + want)) << filter << " gave " << shape(filter);
  // These fail too; which of the words is named differs from the real server's, which lists them all.
  for (const char* bad : {"metrics.acc > - 1",
                          "metrics.acc > +1",
                          "metrics.m/a:b-c < 3",
                          "params.p =",
                          "= '1'",
                          "'1' = params.p",
                          "hello world",
                          "'abc",
                          "params.p = 'abc",
                          "1 = 1",
                          "(params.p='1')",
                          "timestamp > 5",
                          "params.p = '''",
                          "params.p BETWEEN 'a' AND 'b'",
                          "params.p IS 'x'",
                          "params.p NOT NULL",
                          "run_id IN ('a'",
                          "`abc = 'x'",
                          "\xFF\xFE(",
                          "params.p = ,",
                          "\\"})
    EXPECT_TRUE(shape(bad).starts_with("error: Invalid ")) << bad << " gave " << shape(bad);
}

TEST(Filter, IsBounded) {
  std::string many;
  for (int i = 0; i < 101; ++i) many += fmt::format("metrics.m{} > 1 ", i);
  EXPECT_NE(shape(many).find("at most 100"), std::string::npos);
  EXPECT_TRUE(shape(std::string(65 << 10, 'a')).starts_with("error: "));
  EXPECT_TRUE(shape(std::string(60000, '(')).starts_with("error: "));  // no recursion to overflow
}

TEST(OrderBy, ReadsAKeyAndADirection) {
  struct Case {
    const char* in;
    const char* type;
    const char* key;
    bool ascending;
  };
  const Case good[] = {
      {"metrics.acc", "metrics", "acc", true},        {"metrics.acc DESC", "metrics", "acc", false},
      {"metrics.acc asc", "metrics", "acc", true},    {"params.`a b` desc", "params", "a b", false},
      {"start_time", "", "start_time", true},         {"attributes.start_time DESC", "attributes", "start_time", false},
      {"  tags.\"x y\"  Desc ", "tags", "x y", false}};
  for (const auto& c : good) {
    auto k = parse_order_by(c.in);
    ASSERT_TRUE(k) << c.in;
    EXPECT_EQ(k->type, c.type);
    EXPECT_EQ(k->key, c.key);
    EXPECT_EQ(k->ascending, c.ascending);
  }
  for (const char* bad : {"", "  ", "a b c", "a,b", "a;", "`a", "DESC", "1", "metrics.acc DESC DESC"}) {
    auto k = parse_order_by(bad);
    ASSERT_FALSE(k) << bad;
    EXPECT_EQ(k.error().message, fmt::format("Invalid order_by clause '{}'. Could not be parsed.", bad));
  }
  EXPECT_EQ(parse_order_by("metrics.acc UP").error().message,
            "Invalid ordering key in order_by clause 'metrics.acc UP'.");
}

std::string run_error(std::string_view filter) {
  auto r = run_search(filter, {});
  return r ? "" : r.error().message;
}

TEST(RunSearch, SaysWhatMlflowSays) {
  const std::pair<const char*, const char*> cases[] = {
      {"metrics.acc = 'a'", "Expected numeric value type for metric. Found 'a'"},
      {"metrics.acc = NaN", "Expected numeric value type for metric. Found NaN"},
      {"metrics.acc IN (1,2)", "Expected numeric value type for metric. Found (1,2)"},
      {"metrics.m = 1_000", "Expected numeric value type for metric. Found 1_000"},
      {"metrics.acc IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'acc'"},
      {"status IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params, not for 'attribute' 'status'"},
      {"params.p = 1", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 1"},
      {"params.p = abc",
       "Parameter value is either not quoted or unidentified quote types used for string value abc. Use either single "
       "or double quotes."},
      {"params.p = `1`",
       "Parameter value is either not quoted or unidentified quote types used for string value `1`. Use either single "
       "or double quotes."},
      {"params.p IN ('a','b')", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value ('a','b')"},
      {"tags.t IN ('a')", "Expected a quoted string value for tag (e.g. 'my-value'). Got value ('a')"},
      {"Params.p='a'",
       "Invalid entity type 'Params'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"},
      {"bogus.x = 'x'",
       "Invalid entity type 'bogus'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"},
      {"status IN ('RUNNING','FAILED')",
       "Only ['run_id'] attributes support comparison with a list of quoted string values."},
      {"run_id IN ()",
       "While parsing a list in the query, expected a non-empty list of string values, but got empty list"},
      {"start_time > '1'", "Expected numeric value type for numeric attribute: start_time. Found '1'"},
      {"dataset.name = 1", "Expected a quoted string value for dataset attributes. Got value 1"},
  };
  for (auto [filter, want] : cases) EXPECT_EQ(run_error(filter), want) << filter;
  // The valid keys come as a Python set, whose order is nobody's promise.
  for (const char* key : {"bogus", "Status", "experiment_id", "lifecycle_stage", "name"})
    EXPECT_TRUE(run_error(fmt::format("{} = 'x'", key))
                    .starts_with(fmt::format("Invalid attribute key '{}' specified. Valid keys are '{{", key)))
        << key;
  EXPECT_EQ(run_error("run_id IN 'a'"), "Invalid clause(s) in filter string: 'run_id', 'IN', ''a''");
  EXPECT_EQ(run_error("run_id not IN \"a\" AND status = 'x'"),
            "Invalid clause(s) in filter string: 'run_id', 'not', 'IN', '\"a\"'");
  EXPECT_EQ(run_error("tags.a IN"), "Invalid clause(s) in filter string: 'tags.a', 'IN'");
  EXPECT_TRUE(run_error("metrics.acc == 1").starts_with("Invalid comparator '==' not one of '{"));
  EXPECT_TRUE(run_error("params.p > '1'").starts_with("Invalid comparator '>' not one of '{"));
  EXPECT_TRUE(run_error("dataset.source = 'x'").starts_with("Invalid dataset key 'source' specified."));
}

TEST(RunSearch, BindsValuesAndKeys) {
  const char* hostile = "tags.`x'; DROP TABLE runs; --` = '1'' OR ''1'' = ''1' AND metrics.\"a)b\" > 3";
  auto r = run_search(hostile, {"params.`p; DROP` DESC"});
  ASSERT_TRUE(r) << r.error().message;
  for (const auto& part : {r->where.sql, r->joins.sql, r->order}) {
    EXPECT_EQ(part.find("DROP"), std::string::npos) << part;
    EXPECT_EQ(part.find("a)b"), std::string::npos) << part;
  }
  EXPECT_EQ(static_cast<std::size_t>(std::count(r->where.sql.begin(), r->where.sql.end(), '?')), r->where.args.size());
  EXPECT_EQ(static_cast<std::size_t>(std::count(r->joins.sql.begin(), r->joins.sql.end(), '?')), r->joins.args.size());
  EXPECT_EQ(r->where.bound().size(), r->where.args.size());
}

TEST(RunSearch, OrdersByTheRowThatItFiltered) {
  auto r = run_search("metrics.m > 1 AND params.p = 'x'", {"metrics.m DESC", "params.q"});
  ASSERT_TRUE(r);
  EXPECT_EQ(r->where.sql, "");
  EXPECT_LT(r->joins.sql.find("params f1"), r->joins.sql.find("latest_metrics f0"));  // the equality first
  EXPECT_EQ(r->joins.sql.find("latest_metrics o"), std::string::npos);
  EXPECT_NE(r->order.find("f0.value DESC"), std::string::npos);
  EXPECT_NE(r->joins.sql.find("LEFT JOIN params o0"), std::string::npos);
  // The same key twice, and more than a few keys: the rest stays a condition.
  std::string many = "metrics.m > 1 AND metrics.m < 3";
  for (int i = 0; i < 20; ++i) many += fmt::format(" AND tags.t{} != 'x'", i);
  r = run_search(many, {});
  ASSERT_TRUE(r);
  auto count = [](std::string_view text, std::string_view word) {
    std::size_t n = 0;
    for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(count(r->joins.sql, "JOIN"), 8U);
  EXPECT_EQ(count(r->where.sql, "EXISTS"), 14U);
}

TEST(RunSearch, Orders) {
  auto r = run_search("", {"metrics.m DESC", "start_time"});
  ASSERT_TRUE(r);
  EXPECT_EQ(r->joins.args.size(), 1U);
  EXPECT_TRUE(r->order.ends_with("r.run_uuid"));
  EXPECT_EQ(r->order.find("r.start_time DESC"), std::string::npos);  // given ascending: not added again
  EXPECT_NE(run_search("", {})->order.find("r.start_time DESC"), std::string::npos);
  auto twice = run_search("", {"created", "start_time DESC"});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().message, "`order_by` contains duplicate fields: ['created', 'start_time DESC']");
  EXPECT_FALSE(run_search("", {"dataset.name"}));
  EXPECT_FALSE(run_search("", {"nothing"}));
}

TEST(OtherSearches, KeepTheirOwnRules) {
  auto text = [](const Result<SearchSql>& r) { return r ? "" : r.error().message; };
  EXPECT_EQ(text(experiment_search("params.p = '1'", {})),
            "Invalid entity type 'params'. Valid entity types are ('attribute', 'attributes', 'tag', 'tags')");
  EXPECT_EQ(text(experiment_search("name = 'a' OR tags.k = 'v'", {})), "Invalid clause(s) in filter string: OR");
  EXPECT_EQ(text(experiment_search("experiment_id IN ('x')", {})),
            "Invalid experiment ID 'x'. Experiment ID must be a valid integer.");
  EXPECT_EQ(text(experiment_search("experiment_id > '1'", {})), "Invalid comparator for experiment_id: >");
  EXPECT_EQ(text(experiment_search("creation_time > 1.5", {})),
            "Invalid value for numeric attribute 'creation_time': '1.5'");
  EXPECT_EQ(text(experiment_search("name ilike 'A%' AND tags.`a.b` LIKE '%v' AND tags.k IS NOT NULL", {})), "");
  EXPECT_EQ(text(registered_model_search("attributes.name = 'a'", {})),
            "Invalid entity type 'attributes'. Valid entity types are ('attribute', 'tag', 'tags')");
  EXPECT_EQ(text(registered_model_search("name > 'a'", {})), "Invalid comparator for attribute: >");
  EXPECT_EQ(text(registered_model_search("name IS NULL", {})),
            "IS NULL / IS NOT NULL is not supported for registered model search.");
  EXPECT_EQ(text(registered_model_search("name IN ('a','b') AND tags.k != 'v'", {"timestamp DESC"})), "");
  EXPECT_EQ(text(model_version_search("version_number = '1' AND run_id IN ('a','b')", {})), "");
  EXPECT_EQ(text(model_version_search("source_path IN ('a')", {})),
            "Only ['name', 'run_id'] attributes support comparison with a list of quoted string values.");
  EXPECT_EQ(text(model_version_search("version_number LIKE 1", {})),
            "Invalid comparator for attribute version_number: LIKE");
  EXPECT_EQ(text(logged_model_search("attribute.name = 'a'", {}, {})),
            "Invalid entity type: 'attribute'. Expected one of ['attributes', 'metrics', 'params', 'tags'].");
  EXPECT_EQ(text(logged_model_search("metrics.acc LIKE 'x'", {}, {})),
            "Invalid comparison operator for metrics.acc: 'LIKE'. Expected one of ('<', '<=', '>', '>=', '=', '!=').");
  EXPECT_EQ(text(logged_model_search("name = a AND params.lr = 0.1 AND metrics.`a b` >= 1", {}, {})), "");
}

}  // namespace
}  // namespace mr::tracking
