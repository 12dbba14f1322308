// Routes method and path to a handler. Patterns: "/a/b", "/a/{id}/c", and "{rest...}" as the last part for any tail.
// Built once, then read only: thread safe.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "http/message.h"

namespace mr::http {

class Router {
 public:
  Router();
  ~Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;
  void add(Method method, std::string_view pattern, Handler handler);
  struct Match {
    const Handler* handler = nullptr;
    std::vector<std::string> params;  // decoded once
    bool other_method = false;        // the path exists with another method: 405
    std::string allow;                // for the Allow header, when other_method
  };
  // `path` is raw (not decoded). HEAD finds GET routes.
  [[nodiscard]] Match find(Method method, std::string_view path) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::http
