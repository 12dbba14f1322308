// The server side of WebSocket (RFC 6455) over a taken-over connection: handshake, frames, pings, close. Messages come
// piece by piece, so that one of any size needs constant memory. Not thread safe: one loop, one reader; writers queue.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "http/message.h"
#include "task/event.h"

namespace mr::stream {

class WebSocket {
 public:
  enum class Role : std::uint8_t { server, client };  // a client masks what it sends; tests use it
  explicit WebSocket(http::ByteStream& io, Role role = Role::server) : io_(io), role_(role) {}

  // A part of a message; valid until the next read. `first` and `last` mark the message's ends; a part may be empty.
  struct Piece {
    std::string_view data;
    bool text = false;
    bool first = false;
    bool last = false;
  };
  // The next piece; nullopt once the peer has closed. Pings are answered on the way. Errors: the connection was lost or
  // the peer broke the protocol, in which case it has been told so.
  task::Task<Result<std::optional<Piece>>> read();
  // A whole message of at most `limit` bytes, else too_large and a close with 1009.
  task::Task<Result<std::optional<std::string>>> read_message(std::size_t limit);
  // One message made of the two texts in turn.
  task::Task<Result<void>> write(std::string_view head, std::string_view rest = {}, bool text = false);
  // Sends a close frame; the peer's own is awaited by read(). Idempotent.
  task::Task<void> close(int code = 1000, std::string_view reason = {});
  [[nodiscard]] bool peer_closed() const { return peer_closed_; }

 private:
  task::Task<bool> need(std::size_t n);
  task::Task<Result<bool>> frame_head();
  task::Task<Result<bool>> control_frame();
  task::Task<Result<void>> send_frame(int opcode, std::string_view head, std::string_view rest);
  task::Task<std::unexpected<Error>> broken(int code, std::string_view why);

  http::ByteStream& io_;
  Role role_;
  task::Mutex writing_;
  std::string out_;
  std::string_view in_;     // not yet taken of the last read
  std::string held_;        // bytes of a head that came in parts
  std::string piece_;       // the unmasked piece that was given out
  std::uint64_t left_ = 0;  // of the present frame's payload
  std::size_t mask_at_ = 0;
  unsigned char mask_[4] = {};
  bool masked_ = false;
  bool final_ = false;
  bool in_frame_ = false;
  bool in_message_ = false;
  bool first_ = false;
  bool text_ = false;
  int opcode_ = 0;
  bool peer_closed_ = false;
  bool close_sent_ = false;
};

// The messages of a WebSocket as one stream of bytes: the tunnel that port-forward uses.
class WebSocketStream final : public http::ByteStream {
 public:
  explicit WebSocketStream(WebSocket& ws, http::ByteStream& io) : ws_(ws), io_(io) {}
  task::Task<Result<std::string_view>> read() override;
  task::Task<Result<void>> write(std::string_view bytes) override { return ws_.write(bytes); }
  task::Task<Result<void>> shutdown_write() override;
  void close() override { io_.close(); }

 private:
  WebSocket& ws_;
  http::ByteStream& io_;
};

// True when the request asks for WebSocket at all.
bool wants_websocket(const http::Request& request);

// What runs on an accepted socket; `protocol` is the one that was chosen. The closing handshake is done for it.
using WebSocketHandler =
    std::move_only_function<task::Task<void>(WebSocket& ws, http::ByteStream& io, std::string_view protocol)>;
// The 101 answer. The first of the client's subprotocols that is among `supported` is chosen; with none in common the
// answer is invalid_argument, unless the client named none and `protocol_optional`.
Result<http::Response> accept_websocket(const http::Request& request, std::span<const std::string_view> supported,
                                        bool protocol_optional, WebSocketHandler handler);

}  // namespace mr::stream
