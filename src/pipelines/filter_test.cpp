#include "pipelines/filter.h"

#include <gtest/gtest.h>

namespace mr::pipelines {
namespace {

using Op = Predicate::Op;

ListQuery read(std::string_view filter) {
  ListQuery q;
  auto r = read_filter(filter, kRuns, q);
  EXPECT_TRUE(r) << filter << ": " << r.error().message;
  return q;
}
std::string refused(std::string_view filter, const Collection& c = kRuns) {
  ListQuery q;
  auto r = read_filter(filter, c, q);
  EXPECT_FALSE(r) << filter;
  return r ? std::string() : r.error().message;
}

TEST(PipelineFilter, readsWhatTheSdkSends) {
  auto q = read(R"({"predicates": [{"operation": 1, "key": "display_name", "stringValue": "Default"}]})");
  ASSERT_EQ(q.all_of.size(), 1U);
  EXPECT_EQ(q.all_of[0].op, Op::equals);
  EXPECT_EQ(q.all_of[0].key, "display_name");
  EXPECT_EQ(q.all_of[0].values, std::vector<Value>{Value("Default")});
}

TEST(PipelineFilter, readsNamesNumbersAndListsOfValues) {
  auto q = read(R"({"predicates": [
    {"operation": "IN", "key": "state", "string_values": {"values": ["FAILED", "CANCELED"]}},
    {"operation": 5, "key": "created_at", "timestamp_value": "1970-01-01T00:00:10Z"},
    {"operation": "LESS_THAN", "key": "finished_at", "long_value": "20"},
    {"operation": 9, "key": "name", "string_value": "x"}]})");
  ASSERT_EQ(q.all_of.size(), 4U);
  EXPECT_EQ(q.all_of[0].op, Op::in);
  EXPECT_EQ(q.all_of[0].values.size(), 2U);
  EXPECT_EQ(q.all_of[1].op, Op::greater_equals);
  EXPECT_EQ(q.all_of[1].values[0], Value(10'000));
  EXPECT_EQ(q.all_of[2].values[0], Value(20'000));
  EXPECT_EQ(q.all_of[3].op, Op::substring);
}

TEST(PipelineFilter, readsTextsThatWereEncodedTwice) {
  auto q = read(
      "%7B%22predicates%22%3A%5B%7B%22operation%22%3A1%2C%22key%22%3A%22name%22%2C%22string_value%22%3A%22a+b%22%7D%5D%"
      "7D");
  ASSERT_EQ(q.all_of.size(), 1U);
  EXPECT_EQ(q.all_of[0].values[0], Value("a b"));
  // A plus or a percent sign in a plain text is what it is.
  q = read(R"({"predicates": [{"operation": 1, "key": "name", "string_value": "a+b%20"}]})");
  EXPECT_EQ(q.all_of[0].values[0], Value("a+b%20"));
}

TEST(PipelineFilter, readsGroupsOfWhichOneHolds) {
  auto q = read(R"({"any_of": [{"predicates": [{"operation": 1, "key": "state", "string_value": "FAILED"},
                                               {"operation": 1, "key": "name", "string_value": "x"}]}]})");
  ASSERT_EQ(q.any_of.size(), 1U);
  EXPECT_EQ(q.any_of[0].size(), 2U);
  ListQuery back;
  ASSERT_TRUE(read_filter_document(filter_document(q), back));
  EXPECT_EQ(filter_document(back), filter_document(q));
}

TEST(PipelineFilter, saysWhatIsWrong) {
  EXPECT_NE(refused("nonsense").find("failed to parse valid filter from"), std::string::npos);
  EXPECT_NE(refused(R"({"predicate": []})").find("unknown field"), std::string::npos);
  EXPECT_EQ(refused(R"({"predicates": [{"operation": 1, "key": "colour", "string_value": "x"}]})"),
            "no support for filtering on unrecognized field \"colour\"");
  EXPECT_EQ(refused(R"({"predicates": [{"operation": 1, "string_value": "x"}]})"),
            "Predicate key cannot be empty for operation EQUALS and value \"x\"");
  EXPECT_EQ(refused(R"({"predicates": [{"key": "name", "string_value": "x"}]})"),
            "invalid predicate operation: OPERATION_UNSPECIFIED");
  EXPECT_EQ(refused(R"({"predicates": [{"operation": "IN", "key": "name", "string_value": "x"}]})"),
            "cannot use IN operator with scalar type");
  EXPECT_EQ(refused(R"({"predicates": [{"operation": 1, "key": "name", "string_values": {"values": ["x"]}}]})"),
            "cannot use scalar operator EQUALS on array type");
  EXPECT_NE(refused(R"({"predicates": [{"operation": 9, "key": "name", "int_value": 1}]})").find("IS_SUBSTRING"),
            std::string::npos);
  EXPECT_NE(refused(R"({"predicates": [{"operation": 4, "key": "name", "int_value": 1}]})").find("enum"),
            std::string::npos);
  refused(R"({"predicates": [{"operation": 1, "key": "name"}]})");
  refused(R"({"any_of": [{}]})");
  refused("%7", kRuns);
  refused(std::string(100'000, '{'));
}

TEST(PipelineFilter, sorts) {
  ListQuery q;
  ASSERT_TRUE(read_sort("Created_At DESC", kRuns, q));
  EXPECT_EQ(q.sort_key, "created_at");
  EXPECT_TRUE(q.descending);
  ASSERT_TRUE(read_sort("name", kPipelines, q));
  EXPECT_FALSE(q.descending);
  EXPECT_EQ(read_sort("id up", kRuns, q).error().message,
            "Received invalid sort by format \"id up\". Supported format: \"field_name\", \"field_name desc\", or "
            "\"field_name asc\"");
  EXPECT_EQ(read_sort("colour", kRuns, q).error().message, "Invalid sorting field: \"colour\" on listable type Run");
}

TEST(PipelineFilter, emptyParametersAreAbsent) {
  auto q = read_list_query(text::parse_query("namespace=&page_token=&sort_by=&filter=&page_size="), kRuns);
  ASSERT_TRUE(q);
  EXPECT_EQ(q->page_size, 20);
  EXPECT_EQ(q->sort_key, "created_at");
  EXPECT_EQ(read_list_query(text::parse_query("page_size=1000"), kRuns)->page_size, 200);
  EXPECT_EQ(read_list_query(text::parse_query("page_size=-1"), kRuns).error().message,
            "The page size should be greater than 0. Got -1");
  EXPECT_FALSE(read_list_query(text::parse_query("page_size=ten"), kRuns));
}

TEST(PipelineFilter, aTokenAloneGoesOn) {
  ListQuery made;
  made.all_of = {{Op::equals, "state", {Value("FAILED")}}};
  const auto token = token_text({"display_name", true, filter_document(made), Value("x"), 7});
  text::QueryPairs query{{"page_token", token}};
  auto q = read_list_query(query, kRuns);
  ASSERT_TRUE(q);
  EXPECT_EQ(q->sort_key, "display_name");
  EXPECT_TRUE(q->descending);
  EXPECT_EQ(q->all_of.size(), 1U);
  query = {{"page_token", "bm9uZQ=="}};
  EXPECT_EQ(read_list_query(query, kRuns).error().message, "Invalid page token");
}

}  // namespace
}  // namespace mr::pipelines
