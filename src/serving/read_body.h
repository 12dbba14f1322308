// A body that was read already, for who reads it again. Ownership: the text lives elsewhere. Belongs to one loop.
#pragma once
#include <string_view>
#include <utility>

#include "http/message.h"

namespace mr::serving {

class ReadBody final : public http::BodyReader {
 public:
  explicit ReadBody(std::string_view all) : all_(all) {}
  task::Task<Result<std::string_view>> read() override { co_return std::exchange(left_, false) ? all_ : ""; }
  [[nodiscard]] std::optional<std::uint64_t> length() const override { return all_.size(); }

 private:
  std::string_view all_;
  bool left_ = true;
};

// `inner` with a body that was read, and unpacked, before.
task::Task<http::Response> answered_by(const http::Handler& inner, http::Request& rq, std::string_view body);

}  // namespace mr::serving
