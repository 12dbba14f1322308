// The two sides of proxy.h, and what they share. Internal to grpc/. One loop.
#pragma once
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "grpc/proxy.h"
#include "task/event.h"
#include "time/clock.h"

namespace mr::grpc::relay {

inline constexpr std::int32_t kProxyWindow = 16 << 20;  // of a connection

nghttp2_nv field_of(std::string_view name, std::string_view value);
std::vector<nghttp2_nv> fields_of(const HeaderList& list);
inline std::string_view text_of(const std::uint8_t* p, std::size_t n) { return {reinterpret_cast<const char*>(p), n}; }

// Bytes on their way from one side to the other.
struct Flow {
  std::string bytes;
  std::size_t sent = 0;
  bool ended = false;  // no more come
  [[nodiscard]] std::size_t left() const { return bytes.size() - sent; }
  std::size_t take(std::uint8_t* to, std::size_t room) {
    auto n = std::min(room, left());
    std::copy_n(bytes.data() + sent, n, to);
    sent += n;
    if (sent == bytes.size()) {
      bytes.clear();
      sent = 0;
    } else if (sent >= 64 * 1024) {
      bytes.erase(0, sent);
      sent = 0;
    }
    return n;
  }
};

class Far;
class Proxy;

struct Stream {
  std::int32_t near_id = 0;
  std::int32_t far_id = -1;
  Far* far = nullptr;  // while its stream is open
  CallHead head;
  std::size_t header_bytes = 0;
  bool routed = false;    // the router was asked
  bool answered = false;  // a head went to the near side
  bool gone = false;      // the near side has closed it
  Flow to_far, to_near;
  HeaderList arriving, trailers;  // of the far side
  std::size_t arriving_bytes = 0;
  std::shared_ptr<void> keep;
  task::Timer late;
  std::size_t held = 0;  // of to_far, as it counts for all connections
  // False: all connections together hold as much as they may.
  bool hold(std::size_t n);
  void release(std::size_t n);
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { release(held); }
};
using StreamPtr = std::shared_ptr<Stream>;

// A side of the proxy: a session over a stream of bytes, read and written by a coroutine each.
class Side {
 public:
  explicit Side(int stall_s) : stall_ms_(stall_s * 1000L) {}
  virtual ~Side() {
    if (session_ != nullptr) nghttp2_session_del(session_);
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  void wake() { wake_.set(); }
  void close() {
    closed_ = true;
    bytes_->close();
    wake_.set();
  }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] nghttp2_session* session() const { return session_; }

  task::Task<void> read_all();
  task::Task<void> write_all();

 protected:
  virtual bool done() { return false; }
  nghttp2_session* session_ = nullptr;
  http::ByteStream* bytes_ = nullptr;
  std::int64_t moved_ns_ = 0;

 private:
  long stall_ms_;
  task::Event wake_;
  bool closed_ = false, finish_ = false;
};

// A connection to one server.
class Far final : public Side {
 public:
  Far(Proxy& proxy, std::unique_ptr<http::ByteStream> bytes, const ProxyLimits& limits);
  bool send(const StreamPtr& s);
  // No further byte of the call is of use.
  void reset(Stream& s, std::uint32_t code);
  [[nodiscard]] bool takes_calls() const { return !closed() && nghttp2_session_check_request_allowed(session_) != 0; }
  task::Task<void> run();
  [[nodiscard]] bool finished() const { return finished_; }  // run() has ended
  // From the library.
  Stream* find(std::int32_t id) {
    auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second.get();
  }
  void on_head(Stream& s, bool ends);
  void on_data(Stream& s, std::string_view bytes);
  void on_end(Stream& s);
  void on_close(std::int32_t id, std::uint32_t code);
  std::ptrdiff_t give(Stream& s, std::uint8_t* to, std::size_t room, std::uint32_t* flags);
  const ProxyLimits& limits;

 private:
  Proxy& proxy_;
  std::unique_ptr<http::ByteStream> owned_;
  bool finished_ = false;
  std::map<std::int32_t, StreamPtr> streams_;
};

class Proxy final : public Side {
 public:
  Proxy(http::TakenOver& near, CallRouter router, const ProxyLimits& limits);
  task::Task<void> run();
  void drain();
  void idle_later();
  // From the library.
  Stream* find(std::int32_t id) {
    auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second.get();
  }
  int on_begin(std::int32_t id);
  int on_field(Stream& s, std::string_view name, std::string_view value) const;
  void on_request(std::int32_t id);
  void on_data(Stream& s, std::string_view bytes);
  void on_end(Stream& s);
  void on_close(std::int32_t id);
  std::ptrdiff_t give(Stream& s, std::uint8_t* to, std::size_t room, std::uint32_t* flags);
  // From the far side.
  void answer_head(Stream& s, HeaderList fields, bool ends);
  void answer_goes_on(Stream& s);
  void refuse(Stream& s, Status status, std::string_view why, int http_status);
  void reset(Stream& s, std::uint32_t code);

 private:
  bool done() override { return draining_ && streams_.empty(); }
  task::Task<void> route(StreamPtr s);
  task::Task<Far*> connect(std::string ip, std::uint16_t port);
  void too_late(Stream& s);

  http::TakenOver& taken_;
  CallRouter router_;
  ProxyLimits limits_;
  std::map<std::int32_t, StreamPtr> streams_;
  std::map<std::pair<std::string, std::uint16_t>, std::unique_ptr<Far>> far_;
  std::vector<std::unique_ptr<Far>> old_;  // that take no more calls, until the end
  task::Mutex connecting_;
  task::Group tasks_;
  task::Timer idle_;
  std::size_t routing_ = 0;
  bool draining_ = false;
};

}  // namespace mr::grpc::relay
