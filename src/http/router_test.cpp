#include "http/router.h"

#include "await.h"

namespace mr::http {
namespace {

class Routes : public ::testing::Test {
 protected:
  void add(Method m, std::string_view pattern, const std::string& name) {
    router.add(m, pattern, [name](Request&) -> task::Task<Response> { co_return Response::text(200, name); });
  }
  // The name of the handler found, or "405 <allow>", or "404".
  std::string at(Method m, std::string_view path) {
    auto match = router.find(m, path);
    params = match.params;
    if (match.handler == nullptr) return match.other_method ? "405 " + match.allow : "404";
    Request rq;
    return std::get<std::string>(testing::run_now((*match.handler)(rq)).body);
  }
  Router router;
  std::vector<std::string> params;
};

TEST_F(Routes, FindsByMethodAndPath) {
  add(Method::get, "/a/b", "exact");
  add(Method::post, "/a/b", "post");
  add(Method::get, "/a/{id}", "id");
  add(Method::get, "/a/{id}/c/{x}", "two");
  add(Method::post, "/m/{name}:predict", "suffix");
  add(Method::get, "/files/{rest...}", "tail");
  EXPECT_EQ(at(Method::get, "/a/b"), "exact");
  EXPECT_EQ(at(Method::head, "/a/b"), "exact");
  EXPECT_EQ(at(Method::post, "/a/b"), "post");
  EXPECT_EQ(at(Method::get, "/a/x"), "id");
  EXPECT_EQ(params, (std::vector<std::string>{"x"}));
  EXPECT_EQ(at(Method::get, "/a/1/c/2"), "two");
  EXPECT_EQ(params, (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(at(Method::post, "/m/iris:predict"), "suffix");
  EXPECT_EQ(params, (std::vector<std::string>{"iris"}));
  EXPECT_EQ(at(Method::get, "/files/a/b/c.txt"), "tail");
  EXPECT_EQ(params, (std::vector<std::string>{"a/b/c.txt"}));
}

TEST_F(Routes, SaysWhichMethodsThereAre) {
  add(Method::get, "/a", "g");
  add(Method::del, "/a", "d");
  add(Method::put, "/b/{x}", "p");
  EXPECT_EQ(at(Method::post, "/a"), "405 GET, DELETE");
  EXPECT_EQ(at(Method::get, "/b/1"), "405 PUT");
  EXPECT_TRUE(params.empty());
}

TEST_F(Routes, DecodesParametersOnce) {
  add(Method::get, "/a/{id}", "id");
  add(Method::get, "/f/{rest...}", "tail");
  at(Method::get, "/a/x%2Fy%20%25");
  EXPECT_EQ(params, (std::vector<std::string>{"x/y %"}));
  at(Method::get, "/a/bad%zz");
  EXPECT_EQ(params, (std::vector<std::string>{"bad%zz"}));
  at(Method::get, "/f/%2e%2e/x");
  EXPECT_EQ(params, (std::vector<std::string>{"../x"}));  // the handler judges it; see safe_relative_path
}

TEST_F(Routes, DoesNotMatchByAccident) {
  add(Method::get, "/a/{id}", "id");
  add(Method::get, "/f/{rest...}", "tail");
  add(Method::get, "/p/{name}:go", "suffix");
  for (const char* path :
       {"", "a/x", "/", "/a", "/a/", "/a/x/", "/a//x", "/a/x/y", "/f", "/f/", "/A/x", "/p/:go", "/p/x", "/p/x:going"})
    EXPECT_EQ(at(Method::get, path), "404") << path;
}

}  // namespace
}  // namespace mr::http
