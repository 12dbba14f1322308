// What the batcher joins and how it takes an answer apart.
#include "serving/batcher.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace mr::serving {
namespace {

std::string form(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v && v->is_array()) << text;
  return v && v->is_array() ? form_of_rows(v->get_array()) : "";
}

TEST(Batcher, JoinsRowsOfOneFormOnly) {
  EXPECT_EQ(form("[[1,2.5,\"a\"]]"), form("[[3,0.5,\"b\"],[4,1.5,\"c\"]]"));
  EXPECT_EQ(form(R"([{"a":1,"b":null}])"), form(R"([{"a":7,"b":null}])"));
  // Another width, another kind of cell, other names, or the same in another order: another table.
  std::vector<std::string> forms;
  for (const char* rows : {"[[1,2]]", "[[1,2,3]]", "[[1.5,2]]", "[[\"1\",2]]", "[[true,2]]", "[[null,2]]",
                           R"([{"a":1}])", R"([{"b":1}])", R"([{"a":1,"b":1}])", R"([{"b":1,"a":1}])", R"(["a"])"})
    forms.push_back(form(rows));
  for (std::size_t i = 0; i < forms.size(); ++i) {
    EXPECT_FALSE(forms[i].empty());
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(forms[i], forms[j]) << i << " " << j;
  }
  // What may not be joined at all.
  for (const char* rows : {"[]", "[1]", "[[[1,2]]]", R"([{"a":[1,2]}])", "[[1],[1,2]]", "[[1],[1.5]]", "[null]"})
    EXPECT_EQ(form(rows), "") << rows;
}

TEST(Batcher, TakesAnswersApart) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(elements_of("[]"), Parts{});
  EXPECT_EQ(elements_of("[1,2.5]"), (Parts{"1", "2.5"}));
  EXPECT_EQ(elements_of(R"([[1,2],{"a":[3,4]},"x,]\"[",null])"),
            (Parts{"[1,2]", R"({"a":[3,4]})", R"("x,]\"[")", "null"}));
  for (const char* none : {"", "[", "{}", "[1]]", "[[1]", "[\"]", R"({"a":[1]})"})
    EXPECT_EQ(elements_of(none), std::nullopt) << none;
}

}  // namespace
}  // namespace mr::serving
