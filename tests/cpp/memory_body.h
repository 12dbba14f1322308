// A request body from memory, in pieces of the test's choice. A piece is only good until the next read, as with a real
// connection: each is handed out in a buffer of its own size, which the next read frees, so that sanitizers see misuse.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "http/message.h"

namespace mr::testing {

class MemoryBody : public http::BodyReader {
 public:
  explicit MemoryBody(std::vector<std::string> pieces, std::optional<std::uint64_t> length = std::nullopt)
      : pieces_(std::move(pieces)), length_(length) {
    std::erase(pieces_, "");  // an empty piece would be the end
  }
  // `bytes` cut into pieces of `size` bytes.
  static MemoryBody cut(std::string_view bytes, std::size_t size) {
    std::vector<std::string> pieces;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size())))
      pieces.emplace_back(bytes.substr(0, size));
    return MemoryBody(std::move(pieces));
  }
  task::Task<Result<std::string_view>> read() override {
    buffer_.reset();
    if (next_ == pieces_.size()) co_return std::string_view{};
    const auto& p = pieces_[next_++];
    buffer_ = std::make_unique<char[]>(p.size());
    std::memcpy(buffer_.get(), p.data(), p.size());
    co_return std::string_view(buffer_.get(), p.size());
  }
  [[nodiscard]] std::optional<std::uint64_t> length() const override { return length_; }

 private:
  std::vector<std::string> pieces_;
  std::optional<std::uint64_t> length_;
  std::size_t next_ = 0;
  std::unique_ptr<char[]> buffer_;
};

// A request with a body from memory, and the texts that it points into.
struct MadeRequest {
  std::string path;
  std::string target;
  MemoryBody body;
  http::Request request;
  MadeRequest(http::Method method, std::string path_text, std::string_view query, std::vector<std::string> pieces,
              std::uint64_t length)
      : path(std::move(path_text)),
        target(query.empty() ? path : path + "?" + std::string(query)),
        body(std::move(pieces), length) {
    request.method = method;
    request.method_text = http::method_name(method);
    request.path = path;
    request.target = target;
    request.query = std::string_view(target).substr(std::min(target.size(), path.size() + 1));
    request.id = "test";
    request.remote = "127.0.0.1";
    request.body = &body;
  }
  MadeRequest(const MadeRequest&) = delete;
  MadeRequest& operator=(const MadeRequest&) = delete;
};

}  // namespace mr::testing
