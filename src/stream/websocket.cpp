#include "stream/websocket.h"

#include "crypto/digest.h"
#include "crypto/random.h"
#include "text/text.h"

namespace mr::stream {

namespace {

enum Opcode : int { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };
constexpr std::size_t kControlLimit = 125;
constexpr long kCloseWaitMs = 3000;

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t v = 0;
  for (char c : bytes) v = v << 8 | static_cast<unsigned char>(c);
  return v;
}

}  // namespace

task::Task<std::unexpected<Error>> WebSocket::broken(int code, std::string_view why) {
  co_await close(code, why);
  co_return fail(code == 1009 ? Code::too_large : Code::invalid_argument, fmt::format("WebSocket: {}", why));
}

// Gathers `n` bytes in held_; false at the end of the connection.
task::Task<bool> WebSocket::need(std::size_t n) {
  while (held_.size() < n) {
    if (in_.empty()) {
      auto r = co_await io_.read();
      if (!r || r->empty()) co_return false;
      in_ = *r;
    }
    auto take = std::min(n - held_.size(), in_.size());
    held_.append(in_.substr(0, take));
    in_.remove_prefix(take);
  }
  co_return true;
}

// Reads one frame's head. False: the connection ended between frames.
task::Task<Result<bool>> WebSocket::frame_head() {
  held_.clear();
  if (!co_await need(2)) {
    if (held_.empty()) co_return false;
    co_return fail(Code::cancelled, "WebSocket: the connection was lost inside a frame");
  }
  auto b0 = static_cast<unsigned char>(held_[0]);
  auto b1 = static_cast<unsigned char>(held_[1]);
  final_ = (b0 & 0x80) != 0;
  opcode_ = b0 & 0x0F;
  masked_ = (b1 & 0x80) != 0;
  std::uint64_t size = b1 & 0x7F;
  bool control = opcode_ >= 8;
  if ((b0 & 0x70) != 0) co_return co_await broken(1002, "reserved bits are set");
  if (masked_ != (role_ == Role::server)) co_return co_await broken(1002, "masking is wrong");
  if (opcode_ > kPong || (opcode_ > kBinary && opcode_ < kClose)) co_return co_await broken(1002, "unknown opcode");
  if (control && (!final_ || size > kControlLimit)) co_return co_await broken(1002, "bad control frame");
  if (!control && (opcode_ == kContinuation) != in_message_) co_return co_await broken(1002, "fragments out of order");
  std::size_t extra = (size == 126 ? 2 : size == 127 ? 8 : 0);
  std::size_t head = 2 + extra + (masked_ ? 4 : 0);
  if (!co_await need(head)) co_return fail(Code::cancelled, "WebSocket: the connection was lost inside a frame");
  if (extra > 0) size = big_endian(std::string_view(held_).substr(2, extra));
  if (size >> 63 != 0) co_return co_await broken(1002, "bad length");
  if (masked_) std::memcpy(mask_, held_.data() + 2 + extra, 4);
  left_ = size;
  mask_at_ = 0;
  co_return true;
}

// The whole of a control frame. False: the peer has closed.
task::Task<Result<bool>> WebSocket::control_frame() {
  held_.clear();
  if (!co_await need(left_)) co_return fail(Code::cancelled, "WebSocket: the connection was lost inside a frame");
  std::string payload = held_;
  if (masked_)
    for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ mask_[i % 4]);
  left_ = 0;
  if (opcode_ == kPing) {
    if (!close_sent_) MR_CO_CHECK(co_await send_frame(kPong, payload, {}));
  } else if (opcode_ == kClose) {
    peer_closed_ = true;
    if (payload.size() == 1) co_return co_await broken(1002, "bad close frame");
    co_await close(payload.size() >= 2 ? static_cast<int>(big_endian(payload.substr(0, 2))) : 1000);
    co_return false;
  }
  co_return true;
}

task::Task<Result<std::optional<WebSocket::Piece>>> WebSocket::read() {
  if (peer_closed_) co_return std::nullopt;
  while (!in_frame_) {
    MR_CO_TRY(bool more, co_await frame_head());
    if (!more) {
      peer_closed_ = true;
      co_return std::nullopt;
    }
    if (opcode_ >= kClose) {
      MR_CO_TRY(bool open, co_await control_frame());
      if (!open) co_return std::nullopt;
      continue;
    }
    in_frame_ = true;
    if (!in_message_) {
      first_ = true;
      text_ = opcode_ == kText;
    }
    in_message_ = true;
  }
  if (left_ > 0 && in_.empty()) {
    auto r = co_await io_.read();
    if (!r) co_return std::unexpected(r.error());
    if (r->empty()) co_return fail(Code::cancelled, "WebSocket: the connection was lost inside a frame");
    in_ = *r;
  }
  auto take = static_cast<std::size_t>(std::min<std::uint64_t>(left_, in_.size()));
  Piece out{.text = text_, .first = std::exchange(first_, false)};
  if (masked_) {
    piece_.assign(in_.substr(0, take));
    for (char& c : piece_) c = static_cast<char>(c ^ mask_[mask_at_++ & 3]);
    out.data = piece_;
  } else {
    out.data = in_.substr(0, take);
  }
  in_.remove_prefix(take);
  left_ -= take;
  if (left_ == 0) {
    in_frame_ = false;
    if (final_) {
      in_message_ = false;
      out.last = true;
    }
  }
  co_return out;
}

task::Task<Result<std::optional<std::string>>> WebSocket::read_message(std::size_t limit) {
  std::string out;
  for (;;) {
    MR_CO_TRY(auto piece, co_await read());
    if (!piece) co_return std::nullopt;
    if (out.size() + piece->data.size() > limit) co_return co_await broken(1009, "the message is too large");
    out += piece->data;
    if (piece->last) co_return out;
  }
}

task::Task<Result<void>> WebSocket::send_frame(int opcode, std::string_view head, std::string_view rest) {
  auto guard = co_await writing_.lock();
  if (close_sent_) co_return fail(Code::cancelled, "WebSocket: it is closed");
  if (opcode == kClose) close_sent_ = true;
  std::size_t size = head.size() + rest.size();
  out_.clear();
  out_ += static_cast<char>(0x80 | opcode);
  int mask_bit = role_ == Role::client ? 0x80 : 0;
  if (size <= kControlLimit) {
    out_ += static_cast<char>(mask_bit | static_cast<int>(size));
  } else {
    int bytes = size <= 0xFFFF ? 2 : 8;
    out_ += static_cast<char>(mask_bit | (bytes == 2 ? 126 : 127));
    for (int i = bytes - 1; i >= 0; --i) out_ += static_cast<char>(size >> (8 * i) & 0xFF);
  }
  std::size_t at = out_.size();
  std::string mask;
  if (role_ == Role::client) {
    mask = crypto::random_bytes(4);
    out_ += mask;
    at += 4;
  }
  out_ += head;
  out_ += rest;
  for (std::size_t i = at; !mask.empty() && i < out_.size(); ++i)
    out_[i] = static_cast<char>(out_[i] ^ mask[(i - at) & 3]);
  auto sent = co_await io_.write(out_);
  if (out_.capacity() > 256 * 1024) out_ = {};
  co_return sent;
}

task::Task<Result<void>> WebSocket::write(std::string_view head, std::string_view rest, bool text) {
  return send_frame(text ? kText : kBinary, head, rest);
}

task::Task<void> WebSocket::close(int code, std::string_view reason) {
  if (close_sent_) co_return;
  // Codes that must not be sent (1005, 1006, 1015) are answered as a normal end.
  if (code < 1000 || code > 4999 || code == 1005 || code == 1006 || code == 1015) code = 1000;
  char bytes[2] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
  (void)co_await send_frame(kClose, {bytes, 2}, reason.substr(0, kControlLimit - 2));
}

task::Task<Result<std::string_view>> WebSocketStream::read() {
  for (;;) {
    MR_CO_TRY(auto piece, co_await ws_.read());
    if (!piece) co_return std::string_view{};
    if (piece->text) co_return fail(Code::invalid_argument, "WebSocket: a text message inside a tunnel");
    if (!piece->data.empty()) co_return piece->data;
  }
}
task::Task<Result<void>> WebSocketStream::shutdown_write() {
  co_await ws_.close();
  co_return Result<void>{};
}

bool wants_websocket(const http::Request& rq) {
  return text::icontains_token(rq.headers.get("Connection"), "upgrade") &&
         text::icontains_token(rq.headers.get("Upgrade"), "websocket");
}

namespace {

task::Task<void> run(WebSocketHandler handler, std::string protocol, http::ByteStream& io) {
  WebSocket ws(io);
  co_await handler(ws, io, protocol);
  co_await ws.close();
  (void)co_await io.shutdown_write();
  if (ws.peer_closed()) co_return;
  // The peer's close is waited for, or its last bytes would turn ours into a reset.
  task::Timer patience;
  patience.start(kCloseWaitMs, [&io] { io.close(); });
  for (;;) {
    auto piece = co_await io.read();
    if (!piece || piece->empty()) break;
  }
}

}  // namespace

Result<http::Response> accept_websocket(const http::Request& rq, std::span<const std::string_view> supported,
                                        bool protocol_optional, WebSocketHandler handler) {
  if (rq.method != http::Method::get) return fail(Code::invalid_argument, "a WebSocket handshake is a GET");
  if (rq.headers.get("Sec-WebSocket-Version") != "13")
    return fail(Code::invalid_argument, "only version 13 of WebSocket is spoken here");
  auto key = text::trim(rq.headers.get("Sec-WebSocket-Key"));
  auto decoded = text::base64_decode(key);
  if (!decoded || decoded->size() != 16)
    return fail(Code::invalid_argument, "Sec-WebSocket-Key is missing or malformed");
  std::string chosen;
  bool named = false;
  for (const auto& [name, value] : rq.headers.items()) {
    if (!text::iequals(name, "Sec-WebSocket-Protocol")) continue;
    for (auto token : text::split(value, ',')) {
      token = text::trim(token);
      named = named || !token.empty();
      if (chosen.empty() && std::ranges::find(supported, token) != supported.end()) chosen = token;
    }
  }
  if (chosen.empty() && !(protocol_optional && !named))
    return fail(Code::invalid_argument, fmt::format("none of the WebSocket subprotocols asked for is spoken here: {}",
                                                    fmt::join(supported.begin(), supported.end(), ", ")));
  http::Response r;
  r.status = 101;
  r.headers.add("Upgrade", "websocket");
  r.headers.add("Connection", "Upgrade");
  r.headers.add("Sec-WebSocket-Accept",
                text::base64_encode(crypto::digest(crypto::Algorithm::sha1,
                                                   std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
  if (!chosen.empty()) r.headers.add("Sec-WebSocket-Protocol", chosen);
  r.upgrade = [h = std::move(handler), chosen](http::ByteStream& io) mutable {
    return run(std::move(h), std::move(chosen), io);
  };
  return r;
}

}  // namespace mr::stream
