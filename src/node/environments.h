// Cached environments of Python packages, made by uv and keyed by interpreter and requirements: one is made once, and
// every pod that asks for the same list mounts it. Used on the node's loop.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "core/error.h"
#include "node/images.h"
#include "task/task.h"

namespace mr::node {

class Environments {
 public:
  explicit Environments(std::string folder) : folder_(std::move(folder)) {}
  // The folder of an environment with these requirements (one a line, as in requirements.txt; a line "#no-deps NAME" is
  // installed without its dependencies, "#constraint NAME==1" only says which version is taken where one is), made when
  // it is not there yet. Errors: reason ErrImagePull, with what uv said last.
  task::Task<Result<std::string>> get(Interpreter python, std::string requirements);
  // Whether get() would answer at once.
  [[nodiscard]] bool ready(const Interpreter& python, const std::string& requirements) const;

 private:
  struct Making;
  [[nodiscard]] std::string path(const Interpreter& python, const std::string& requirements) const;
  task::Task<Result<void>> make(Interpreter python, std::string requirements, std::string path);
  std::string folder_;
  std::map<std::string, std::shared_ptr<Making>> making_;
};

}  // namespace mr::node
