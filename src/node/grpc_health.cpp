#include "node/grpc_health.h"

#include "task/event.h"

namespace mr::node {

namespace {

enum Frame : std::uint8_t { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoaway = 7 };
constexpr std::uint8_t kEndStream = 1, kEndHeaders = 4, kAck = 1, kPadded = 8;

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string out;
  auto n = payload.size();
  for (int shift : {16, 8, 0}) out += static_cast<char>((n >> shift) & 0xff);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (int shift : {24, 16, 8, 0}) out += static_cast<char>((stream >> shift) & 0xff);
  out += payload;
  return out;
}

// A header that is put in no table: HPACK's literal form without Huffman coding. Texts here are short.
void header(std::string& out, std::string_view name, std::string_view value) {
  out += '\0';
  for (auto s : {name, value}) {
    out += static_cast<char>(s.size());
    out += s;
  }
}

// The `status` of a HealthCheckResponse (field 1), 0 when absent.
int status_of(std::string_view message) {
  return message.size() >= 2 && message[0] == 0x08 ? static_cast<unsigned char>(message[1]) : 0;
}

}  // namespace

task::Task<Result<void>> grpc_health(std::unique_ptr<http::ByteStream> stream, std::string service, long timeout_ms) {
  if (service.size() > 100) co_return fail(Code::invalid_argument, "service name too long");
  std::string headers;
  header(headers, ":method", "POST");
  header(headers, ":scheme", "http");
  header(headers, ":path", "/grpc.health.v1.Health/Check");
  header(headers, ":authority", "localhost");
  header(headers, "content-type", "application/grpc");
  header(headers, "te", "trailers");
  std::string message;
  if (!service.empty()) {
    message += '\x0a';
    message += static_cast<char>(service.size());
    message += service;
  }
  std::string body(1, '\0');
  for (int shift : {24, 16, 8, 0}) body += static_cast<char>((message.size() >> shift) & 0xff);
  body += message;
  auto request = std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + frame(kSettings, 0, 0, {}) +
                 frame(kHeaders, kEndHeaders, 1, headers) + frame(kData, kEndStream, 1, body);
  bool late = false;
  task::Timer timer;
  timer.start(timeout_ms, [&] {
    late = true;
    stream->close();
  });
  auto failed = [&](std::string_view why) {
    return fail(late ? Code::deadline_exceeded : Code::unavailable,
                late ? fmt::format("timeout: health rpc did not complete within {}s", timeout_ms / 1000)
                     : fmt::format("error: health rpc probe failed: {}", why));
  };
  if (auto sent = co_await stream->write(request); !sent) co_return failed(sent.error().message);
  std::string in, data;
  for (;;) {
    while (in.size() >= 9) {
      auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(in[i])); };
      auto size = byte(0) << 16 | byte(1) << 8 | byte(2);
      if (size > 65536) co_return failed("frame too large");
      if (in.size() < 9 + size) break;
      auto type = byte(3), flags = byte(4);
      auto id = (byte(5) & 0x7f) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
      auto payload = in.substr(9, size);
      in.erase(0, 9 + size);
      if ((type == kSettings || type == kPing) && (flags & kAck) == 0) {
        auto ack = frame(static_cast<std::uint8_t>(type), kAck, 0,
                         type == kPing ? std::string_view(payload) : std::string_view());
        if (auto sent = co_await stream->write(ack); !sent) co_return failed(sent.error().message);
      }
      if (type == kGoaway) co_return failed("connection closed by server");
      if (id != 1) continue;
      if (type == kReset) co_return failed("stream reset");
      if (type == kData) {
        std::string_view p = payload;
        if ((flags & kPadded) != 0 && !p.empty()) {
          auto pad = static_cast<std::size_t>(static_cast<unsigned char>(p[0]));
          p.remove_prefix(1);
          p.remove_suffix(std::min(pad, p.size()));
        }
        data += p;
      }
      if ((type == kData || type == kHeaders) && ((flags & kEndStream) != 0 || data.size() > 5)) {
        if (data.size() < 5) {
          // No message: the status stands in headers that only say why not.
          if ((flags & kEndStream) != 0) co_return failed("service unknown or not implemented");
          continue;
        }
        int status = status_of(std::string_view(data).substr(5));
        timer.cancel();
        if (status == 1) co_return Result<void>{};
        co_return fail(Code::unavailable,
                       fmt::format("service unhealthy (responded with \"{}\")", status == 2   ? "NOT_SERVING"
                                                                                : status == 3 ? "SERVICE_UNKNOWN"
                                                                                              : "UNKNOWN"));
      }
    }
    auto piece = co_await stream->read();
    if (!piece || piece->empty()) co_return failed("connection closed");
    in += *piece;
  }
}

}  // namespace mr::node
