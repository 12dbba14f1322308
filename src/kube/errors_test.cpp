#include "kube/errors.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace mr::kube {
namespace {

TEST(KubeErrors, HaveTheServersTexts) {
  EXPECT_EQ(not_found("apps", "deployments", "x").message, "deployments.apps \"x\" not found");
  EXPECT_EQ(already_exists("", "pods", "x").message, "pods \"x\" already exists");
  EXPECT_EQ(
      conflict("", "pods", "x",
               "the object has been modified; please apply your changes to the latest version "
               "and try again")
          .message,
      "Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your changes to the "
      "latest version and try again");
  EXPECT_EQ(
      forbidden_request("u", "get", "", "pods", "log", "n", "p").message,
      "pods \"p\" is forbidden: User \"u\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"n\"");
  EXPECT_EQ(
      forbidden_request("u", "list", "apps", "deployments", "", "", "", "why").message,
      "deployments.apps is forbidden: User \"u\" cannot list resource \"deployments\" in API group \"apps\" at the "
      "cluster scope: why");
}

TEST(KubeErrors, InvalidListsItsCauses) {
  auto one = invalid_object("apps", "Deployment", "x", {required("spec.selector")});
  EXPECT_EQ(one.message, "Deployment.apps \"x\" is invalid: spec.selector: Required value");
  auto two = invalid_object("", "Pod", "x",
                            {invalid("spec.a", 3, "no"), not_supported("spec.b", "q", {"r", "s"}),
                             duplicate("spec.c", "d"), invalid("spec.a", 3, "no")});
  EXPECT_EQ(two.message,
            "Pod \"x\" is invalid: [spec.a: Invalid value: 3: no, spec.b: Unsupported value: \"q\": supported values: "
            "\"r\", \"s\", spec.c: Duplicate value: \"d\"]");
  EXPECT_EQ(array_at(two.details, "causes").size(), 4u);
  EXPECT_EQ(text_at(two.details, "causes.1.reason"), "FieldValueNotSupported");
}

TEST(KubeErrors, ValuesAreShownAsTheServerDoes) {
  EXPECT_EQ(rendered("a\"\n\x01"), "\"a\\\"\\n\\x01\"");
  EXPECT_EQ(rendered(1.5), "1.5");
  EXPECT_EQ(rendered(1e21), "1e+21");
  EXPECT_EQ(rendered(true), "true");
  EXPECT_EQ(rendered(nullptr), "null");
}

TEST(KubeErrors, GoThereAndBack) {
  auto e = invalid_object("", "Pod", "x", {required("spec")});
  auto back = to_api_error(to_error(e));
  EXPECT_EQ(back.code, 422);
  EXPECT_EQ(status_of(back), status_of(e));
  EXPECT_EQ(to_error(already_exists("", "pods", "x")).code, Code::already_exists);
  EXPECT_EQ(to_api_error(Error{Code::not_found, "gone", "", ""}).code, 404);
  EXPECT_EQ(to_api_error(Error{Code::failed_precondition, "old", "Expired", ""}).code, 410);
  EXPECT_EQ(error_of_status({}, 403).reason, "Forbidden");
}

}  // namespace
}  // namespace mr::kube
