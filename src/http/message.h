// What a handler sees of HTTP/1.1: Request in, Response out. Views in a Request stay valid until the handler ends.
// Not thread safe: a request belongs to the loop of its connection.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"
#include "core/fd.h"
#include "http/byte_stream.h"
#include "task/task.h"

namespace mr::http {

struct PeerCertificate;  // tls.h

enum class Method : std::uint8_t { get, head, post, put, patch, del, options, other };
std::string_view method_name(Method m);

// Names compare without case. Small lists: a linear search beats a map.
template <class S>
class BasicHeaders {
 public:
  void add(S name, S value) { items_.emplace_back(std::move(name), std::move(value)); }
  void reserve(std::size_t n) { items_.reserve(n); }
  void set(std::string_view name, S value);
  // The first value, or empty.
  [[nodiscard]] std::string_view get(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] const std::vector<std::pair<S, S>>& items() const { return items_; }
  void clear() { items_.clear(); }

 private:
  std::vector<std::pair<S, S>> items_;
};
using Headers = BasicHeaders<std::string>;
using HeaderViews = BasicHeaders<std::string_view>;

// The request's body, pulled piece by piece, so that a body of any size needs constant memory.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // The next piece, valid until the next call; empty at the end. Errors: the client went away or is too slow.
  virtual task::Task<Result<std::string_view>> read() = 0;
  // Content-Length, or nullopt for chunked.
  [[nodiscard]] virtual std::optional<std::uint64_t> length() const = 0;
};

struct Request {
  Method method = Method::get;
  std::string_view method_text;
  std::string_view target;  // as sent: path and query, not decoded
  std::string_view path;    // target up to '?', not decoded
  std::string_view query;   // after '?'
  HeaderViews headers;
  BodyReader* body = nullptr;
  std::string id;  // X-Request-Id of the client, or ours
  std::string_view remote;
  std::uint16_t remote_port = 0;
  bool secure = false;                    // came under TLS
  const PeerCertificate* peer = nullptr;  // the client's certificate, verified
  bool peer_refused = false;              // the client gave one that does not verify
  std::vector<std::string> params;        // what the router's {…} matched, decoded
  // Becomes true, within a second, when the client goes away while its answer streams. A stream that may wait long for
  // its next piece keeps a copy and ends when it sees that. Null: not known.
  const std::shared_ptr<std::atomic<bool>>* gone = nullptr;
};

struct FileBody {
  Fd fd;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
// Called until it returns an empty text; sent chunked.
using StreamBody = std::move_only_function<task::Task<Result<std::string>>()>;

// Takes a connection over once the head of its answer is written. The stream is gone when the task ends, and with it
// the connection. No time limit applies any more; at shutdown it is closed when the grace is over.
using UpgradeHandler = std::move_only_function<task::Task<void>(ByteStream&)>;

struct Response {
  int status = 200;
  Headers headers;
  std::string raw_headers;  // more header lines, ready to send, each ending with CRLF; their maker has checked them
  std::variant<std::string, FileBody, StreamBody> body;
  UpgradeHandler upgrade;  // with status 101 (or 200 to CONNECT); the body is not looked at

  static Response text(int status, std::string body, std::string_view content_type = "text/plain; charset=utf-8");
  static Response json(int status, std::string body) { return text(status, std::move(body), "application/json"); }
};

using Handler = std::function<task::Task<Response>(Request&)>;

// The whole body, decoded when Content-Encoding is gzip or deflate; refuses more than `limit` bytes with too_large.
task::Task<Result<std::string>> read_all(Request& request, std::size_t limit);

std::string_view reason_phrase(int status);

}  // namespace mr::http
