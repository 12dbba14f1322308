// One HTTP/2 connection and its calls. Internal to grpc/. Lives on one loop; owned by its pending reads and writes,
// listed in its loop's Shard.
#pragma once
#include <nghttp2/nghttp2.h>

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <map>
#include <set>

#include "grpc/server.h"
#include "http/transport.h"

namespace mr::grpc {

class Connection;

// What all loops of a server share.
struct Shared {
  ServerOptions options;
  std::set<std::string, std::less<>> methods;
  Handler handler;
  std::atomic<std::size_t> held = 0;  // bytes of requests
};

struct Shard {
  task::Loop* loop = nullptr;
  Shared* shared = nullptr;
  std::set<std::shared_ptr<Connection>> connections;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Shard& shard, std::shared_ptr<void> owner, boost::asio::ip::tcp::socket socket);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  // Some times a second: ends what stalls and what is past its deadline.
  void tick(std::int64_t now_ns);
  // No new calls; closed once those under way are answered.
  void drain();
  void close();

  struct Stream {
    std::string method;
    bool post = false, grpc_type = false;
    std::string encoding;  // grpc-encoding
    long timeout_ms = 0;
    std::int64_t deadline_ns = 0;  // 0: none
    std::size_t header_bytes = 0;
    std::string body;
    bool started = false;       // the handler has it
    bool answered = false;      // an answer was submitted
    std::int64_t moved_ns = 0;  // a byte came or went
    std::string out;
    std::size_t sent = 0;
    Status status = Status::ok;
    std::string text;  // grpc-message
  };

  // From nghttp2's callbacks.
  int on_begin(std::int32_t id);
  int on_header(std::int32_t id, std::string_view name, std::string_view value);
  int on_data(std::int32_t id, std::string_view bytes);
  void on_request(std::int32_t id);
  void on_stream_close(std::int32_t id);
  std::ptrdiff_t read_answer(std::int32_t id, std::uint8_t* to, std::size_t room, std::uint32_t* flags);

 private:
  void wait(http::Io io, void (Connection::*then)());
  void read();
  void read_some();
  void flush();
  void write();
  void write_on();
  void finish_when_done();
  Stream* find(std::int32_t id);
  void release(Stream& s);
  // An answer with its trailers, or an error alone.
  void answer(std::int32_t id, Reply reply);
  void refuse_http(std::int32_t id, const char* status);
  Result<std::string> unpack(Stream& s) const;
  static task::Task<void> run(std::shared_ptr<Connection> self, std::int32_t id, Call call);

  Shard& shard_;
  std::shared_ptr<void> owner_;  // the server's Impl, whose parts this uses
  http::Transport transport_;
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, Stream> streams_;
  std::size_t running_ = 0;  // handlers, also those whose stream was reset
  std::string in_ = std::string(16 * 1024, '\0');
  std::string out_;
  std::size_t written_ = 0;  // of out_
  bool secured_ = false;     // the handshake of TLS is over, or there is none
  bool writing_ = false;
  bool closed_ = false;
  bool draining_ = false;
  std::int64_t write_began_ns_ = 0;
  std::int64_t opened_ns_ = 0;
  std::int64_t read_ns_ = 0;  // when the last bytes came
  bool spoke_ = false;        // the preface came
};

}  // namespace mr::grpc
