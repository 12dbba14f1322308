#include "tracking/message.h"

#include "tracking/validate.h"

namespace mr::tracking {
namespace {

constexpr Field kItem[] = {{"key", FieldType::string, true}, {"step", FieldType::integer}};
constexpr Field kFields[] = {{"run_id", FieldType::string, true}, {"max_results", FieldType::integer},
                             {"value", FieldType::real},          {"flag", FieldType::boolean},
                             {"names", FieldType::strings},       {"items", FieldType::messages, false, kItem}};

Result<Message> decoded(std::string_view body) { return decode_json(body, kFields); }
std::string error(std::string_view body) {
  auto m = decoded(body);
  return m ? "" : m.error().message;
}

TEST(Decode, ReadsEveryType) {
  auto m = decoded(
      R"({"run_id":"r","max_results":5,"value":1.5,"flag":true,"names":["a","b"],"items":[{"key":"k","step":"7"},{"key":"l"}],"unknown":[1]})");
  ASSERT_TRUE(m) << m.error().message;
  EXPECT_EQ(m->str("run_id"), "r");
  EXPECT_EQ(m->i64("max_results"), 5);
  EXPECT_EQ(m->real("value"), 1.5);
  EXPECT_TRUE(m->boolean("flag"));
  EXPECT_EQ(m->strings("names"), (std::vector<std::string>{"a", "b"}));
  auto items = m->messages("items");
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0].i64("step"), 7);
  EXPECT_EQ(items[1].i64("step"), std::nullopt);
  EXPECT_FALSE(m->has("unknown"));
}

TEST(Decode, ReadsIntegersAsProtoJsonDoes) {
  auto max = [](std::string_view json) {
    auto m = decoded(fmt::format(R"({{"run_id":"r","max_results":{}}})", json));
    return m ? m->i64("max_results") : std::optional<std::int64_t>(-999);
  };
  EXPECT_EQ(max("12"), 12);
  EXPECT_EQ(max("\"12\""), 12);
  EXPECT_EQ(max("12.0"), 12);
  EXPECT_EQ(max("1e3"), 1000);
  EXPECT_EQ(max("\"1e3\""), 1000);
  EXPECT_EQ(max("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(max("null"), std::nullopt);
  for (const char* bad : {"12.5", "\"x\"", "\"12 \"", "true", "[]", "{}", "9223372036854775808", "1e300", "\"1e300\"",
                          "\"\\u0000\"", "\"nan\"", "NaN"})
    EXPECT_EQ(max(bad), -999) << bad;
}

TEST(Decode, ReadsRealsOfPythonClients) {
  auto value = [](std::string_view json) -> std::optional<double> {
    auto m = decoded(fmt::format(R"({{"run_id":"r","value":{}}})", json));
    return m ? m->real("value") : std::nullopt;
  };
  EXPECT_EQ(value("1"), 1.0);
  EXPECT_EQ(value("18446744073709551615"), 18446744073709551615.0);
  EXPECT_EQ(value("\" 1.5 \""), 1.5);
  EXPECT_EQ(value("\"+1.5\""), 1.5);
  EXPECT_EQ(value("true"), 1.0);
  EXPECT_TRUE(std::isnan(*value("NaN")));
  EXPECT_TRUE(std::isnan(*value("\"nan\"")));
  EXPECT_EQ(value("-Infinity"), -INFINITY);
  EXPECT_EQ(value("\"inf\""), INFINITY);
  EXPECT_EQ(value("\"1e400\""), INFINITY);
  EXPECT_EQ(value("\"1e-400\""), 0.0);
  for (const char* bad : {"\"\\u0031x\"", "\"++1\"", "\"+\"", "[1]", "{}", "\"0x10\"", "\"1_0\""})
    EXPECT_EQ(value(bad), std::nullopt) << bad;
}

TEST(Decode, SaysWhatIsMissingOrWrong) {
  const char* missing_run =
      "Missing value for required parameter 'run_id'. See the API docs for more information about request parameters.";
  for (const char* body : {"{}", "", "not json", "null", R"({"run_id":null})", R"({"run_id":""})"})
    EXPECT_EQ(error(body), missing_run) << body;
  EXPECT_EQ(error(R"({"run_id":5})"),
            "Invalid value 5 for parameter 'run_id' supplied:  Hint: Value was of type 'int'. See the API docs for "
            "more information about request parameters.");
  EXPECT_EQ(error(R"({"run_id":"r","flag":"true"})"),
            "Invalid value \"true\" for parameter 'flag' supplied:  Hint: Value was of type 'str'. See the API docs "
            "for more information about request parameters.");
  EXPECT_EQ(error(R"({"run_id":"r","items":[{"key":"a"},{"step":1}]})"),
            "Missing value for required parameter 'items[1].key'. See the API docs for more information about request "
            "parameters.");
  EXPECT_NE(error(R"({"run_id":"r","items":[1]})").find("'items[0]'"), std::string::npos);
  EXPECT_NE(error(R"({"run_id":"r","names":["a",1]})").find("'list'"), std::string::npos);
  EXPECT_EQ(error("[1]"), "Bad Request. The request body must be a JSON object.");
  auto wrong = decoded(R"({"run_id":5})");
  EXPECT_EQ(wrong.error().reason, "INVALID_PARAMETER_VALUE");
}

TEST(Decode, KnowsOtherSpellings) {
  EXPECT_EQ(decoded(R"({"runId":"c"})")->str("run_id"), "c");
  EXPECT_EQ(decoded(R"({"run_uuid":"old"})")->str("run_id"), "old");
  EXPECT_EQ(decoded(R"({"run_id":"new","run_uuid":"old"})")->str("run_id"), "new");
  EXPECT_EQ(decoded(R"("{\"run_id\":\"twice\"}")")->str("run_id"), "twice");  // JSON in a JSON text
  EXPECT_NE(error(R"({"run_id":"a","runId":"b"})"), "");
}

TEST(Decode, ReadsQueries) {
  http::Request rq;
  rq.method = http::Method::get;
  rq.query = "run_id=a%20b&max_results=3&names=x&names=y&flag=TRUE&unknown=1";
  auto m = decode(rq, "", kFields);
  ASSERT_TRUE(m) << m.error().message;
  EXPECT_EQ(m->str("run_id"), "a b");
  EXPECT_EQ(m->i64("max_results"), 3);
  EXPECT_EQ(m->strings("names"), (std::vector<std::string>{"x", "y"}));
  EXPECT_TRUE(m->boolean("flag"));
  rq.query = "run_id=a&flag=yes";
  EXPECT_EQ(decode(rq, "", kFields).error().message, "Invalid boolean value: yes, must be 'true' or 'false'.");
  rq.query = "run_id=a&items=x";
  EXPECT_FALSE(decode(rq, "", kFields));
}

TEST(Decode, WantsJsonContent) {
  http::Request rq;
  rq.method = http::Method::post;
  EXPECT_EQ(decode(rq, "{}", kFields).error().message, "Bad Request. Content-Type header is missing.");
  rq.headers.add("Content-Type", "text/plain");
  EXPECT_EQ(decode(rq, "{}", kFields).error().message,
            "Bad Request. Content-Type must be one of ['application/json'].");
  http::Request good;
  good.method = http::Method::post;
  good.headers.add("Content-Type", "application/json; charset=utf-8");
  EXPECT_TRUE(decode(good, R"({"run_id":"r"})", kFields));
}

TEST(Validate, PageTokensGoRound) {
  EXPECT_EQ(page_token(5), "eyJvZmZzZXQiOiA1fQ==");
  for (std::int64_t n : {1LL, 1000LL, 9000000000LL}) EXPECT_EQ(*parse_page_token(page_token(n)), n);
  EXPECT_EQ(*parse_page_token(""), 0);
  for (const char* bad : {"abc", "!!!!", "eyJvZmZzZXQiOiAwfQ==", "eyJvZmZzZXQiOiAtMX0=", "W10=", "eyJhIjoxfQ=="}) {
    auto r = parse_page_token(bad);
    ASSERT_FALSE(r) << bad;
    EXPECT_TRUE(r.error().message.starts_with("Invalid page token, ")) << r.error().message;
  }
}

TEST(Validate, Names) {
  for (const char* good : {"acc", "a/b", "a.b-c_d", "val loss", "1", "train/acc:top"})
    EXPECT_TRUE(check_name(good, "key")) << good;
  for (const char* bad : {"", "../x", "a//b", "/abs", "a/", ".", "a/../b", "tab\tx", "new\nline", "a\"b", "a,b"})
    EXPECT_FALSE(check_name(bad, "key")) << bad;
  for (const char* good : {"model", "my model", "a.b"}) EXPECT_TRUE(check_model_name(good)) << good;
  for (const char* bad : {"", "a/b", "a:b", "  ", ".", ".."}) EXPECT_FALSE(check_model_name(bad)) << bad;
  for (const char* good : {"champion", "a-b_c", "v", "v1x", "1"}) EXPECT_TRUE(check_alias(good)) << good;
  for (const char* bad : {"", "a b", "a/b", "latest", "Latest", "v1", "V22", "a.b"})
    EXPECT_FALSE(check_alias(bad)) << bad;
  EXPECT_EQ(*parse_model_version("3"), 3);
  EXPECT_FALSE(parse_model_version("x"));
  EXPECT_EQ(*parse_experiment_id("12"), 12);
  EXPECT_FALSE(parse_experiment_id("12x"));
}

TEST(Validate, MetricsKeepWhatTheDatabaseCanHold) {
  auto stored = [](double v) {
    Metric m;
    m.key = "k";
    EXPECT_TRUE(check_metric(m, v, ""));
    return m;
  };
  EXPECT_EQ(stored(1.5).value, 1.5);
  EXPECT_FALSE(stored(1.5).is_nan);
  EXPECT_TRUE(stored(std::nan("")).is_nan);
  EXPECT_EQ(stored(std::nan("")).value, 0);
  EXPECT_EQ(stored(INFINITY).value, 1.7976931348623157e308);
  EXPECT_EQ(stored(-INFINITY).value, -1.7976931348623157e308);
}

TEST(Validate, JoinsBeforeTheQuery) {
  EXPECT_EQ(join_uri("s3://b/k", "r/artifacts"), "s3://b/k/r/artifacts");
  EXPECT_EQ(join_uri("s3://b/k/", "r"), "s3://b/k/r");
  EXPECT_EQ(join_uri("mlflow-artifacts:/", "0"), "mlflow-artifacts:/0");
  EXPECT_EQ(join_uri("http://h/a?x=1", "r"), "http://h/a/r?x=1");
  for (int i = 0; i < 200; ++i) EXPECT_LE(generate_name().size(), 20U);
}

}  // namespace
}  // namespace mr::tracking
