#include "kube/selectors.h"

#include <gtest/gtest.h>

#include "json/parse.h"
#include "kube/names.h"

namespace mr::kube {
namespace {

Object doc(std::string_view text) { return json::parse(text).value().as_object(); }

bool selects(std::string_view selector, std::string_view labels) {
  auto s = LabelSelector::parse(selector);
  EXPECT_TRUE(s.has_value()) << selector;
  return s && s->matches_labels(doc(labels));
}
std::string fault(std::string_view selector) {
  auto s = LabelSelector::parse(selector);
  return s ? "" : s.error().message;
}

TEST(KubeSelectors, LabelsMatch) {
  EXPECT_TRUE(selects("", R"({})"));
  EXPECT_TRUE(selects("a=b,c!=d,e in (f,g),!h,i", R"({"a":"b","e":"g","i":""})"));
  EXPECT_FALSE(selects("a==b", R"({"a":"c"})"));
  EXPECT_FALSE(selects("a in (b)", R"({})"));
  EXPECT_TRUE(selects("a notin (b)", R"({})"));
  EXPECT_TRUE(selects("in in (in, notin)", R"({"in":"notin"})"));
  EXPECT_TRUE(selects("a=", R"({"a":""})"));
  EXPECT_TRUE(selects("n>3,n<5", R"({"n":"4"})"));
  EXPECT_TRUE(selects("x.io/a in (,b)", R"({"x.io/a":""})"));
  EXPECT_TRUE(selects("a in ()", R"({"a":""})"));
  EXPECT_FALSE(selects("a in ()", R"({"a":"b"})"));
}

TEST(KubeSelectors, LabelFaultsHaveTheServersTexts) {
  EXPECT_EQ(fault("a,"), "found '', expected: identifier after ','");
  EXPECT_EQ(fault("=b"), "found '=', expected: !, identifier, or 'end of string'");
  EXPECT_EQ(fault("a b"), "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
  EXPECT_EQ(fault("a in b"), "unable to parse requirement: found 'b' expected: '('");
  EXPECT_TRUE(fault("a=b c").starts_with("found 'c', expected: ',' or 'end of string'"));
  EXPECT_TRUE(fault("-a=b").starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part must"));
  EXPECT_TRUE(
      fault("a=-b").starts_with("unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label"));
}

TEST(KubeSelectors, FieldsMatch) {
  Kind pods;
  pods.selectable = {"status.phase", "spec.nodeName"};
  auto pod = doc(R"({"metadata":{"name":"x"},"status":{"phase":"Running"}})");
  EXPECT_TRUE(FieldSelector::parse("metadata.name=x,status.phase!=Failed,spec.nodeName=", pods)->matches(pod));
  EXPECT_FALSE(FieldSelector::parse("status.phase==Failed", pods)->matches(pod));
  EXPECT_EQ(FieldSelector::parse("metadata.name=x", pods)->exact_name(), "x");
  EXPECT_EQ(FieldSelector::parse("spec.x=1", pods).error().message, "field label not supported: spec.x");
  EXPECT_EQ(FieldSelector::parse("spec.x=1", Kind{}).error().message,
            "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
  EXPECT_EQ(FieldSelector::parse("foo", pods).error().message, "invalid selector: 'foo'; can't understand 'foo'");
}

TEST(KubeNames, Forms) {
  EXPECT_TRUE(dns_subdomain("a.b-c.1").empty());
  EXPECT_FALSE(dns_subdomain("a..b").empty());
  EXPECT_FALSE(dns_label("A").empty());
  EXPECT_FALSE(dns_1035_label("1a").empty());
  EXPECT_FALSE(dns_1035_label("").empty());
  EXPECT_TRUE(qualified_name("example.com/My_Name").empty());
  EXPECT_EQ(qualified_name("/x")[0], "prefix part must be non-empty");
  EXPECT_TRUE(port_name("http-1").empty());
  EXPECT_EQ(port_name("9")[0], "must contain at least one letter (a-z)");
  EXPECT_FALSE(config_key("..x").empty());
}

TEST(KubeNames, Quantities) {
  EXPECT_EQ(quantity_milli("500m"), 500);
  EXPECT_EQ(quantity_milli("1.5"), 1500);
  EXPECT_EQ(quantity_milli("1Gi"), 1073741824000);
  EXPECT_EQ(quantity_milli("1e3"), 1000000);
  EXPECT_EQ(quantity_milli("-1"), -1000);
  EXPECT_FALSE(quantity_milli("1GB"));
  EXPECT_FALSE(quantity_milli("abc"));
  EXPECT_FALSE(quantity_milli(""));
  EXPECT_EQ(canonical_quantity_text("1024Mi"), "1Gi");
  EXPECT_EQ(canonical_quantity_text("1.5Gi"), "1536Mi");
  EXPECT_EQ(canonical_quantity_text("0.5"), "500m");
  EXPECT_EQ(canonical_quantity_text("1000m"), "1");
  EXPECT_EQ(canonical_quantity_text("1500u"), "2m");
  EXPECT_EQ(canonical_quantity_text("1000000"), "1M");
  EXPECT_EQ(canonical_quantity_text("0"), "0");
  EXPECT_EQ(canonical_quantity_text("1e3"), std::nullopt);
}

}  // namespace
}  // namespace mr::kube
