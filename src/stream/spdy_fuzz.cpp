// The SPDY decoder gets each input whole and byte by byte: both must see the same, and what they hand on must be within
// the limits. Then a session answers it.
#include "await.h"
#include "stream/spdy.h"

namespace {

using namespace mr;
using namespace mr::stream;

constexpr SpdyDecoder::Limits kLimits{.frame = 4096, .headers = 2048, .fields = 16};

std::string run(std::string_view bytes, std::size_t size) {
  SpdyDecoder d(kLimits);
  std::string seen;
  std::string data;
  while (!bytes.empty()) {
    auto piece = bytes.substr(0, size);
    bytes.remove_prefix(piece.size());
    for (;;) {
      auto f = d.next(piece);
      if (!f) return seen + data + "!" + f.error().message;
      if (!*f) break;
      std::size_t total = 0;
      for (const auto& [n, v] : (*f)->headers) total += n.size() + v.size();
      if ((*f)->headers.size() > kLimits.fields || total > kLimits.headers) std::abort();
      if ((*f)->type == SpdyType::data) {
        data += (*f)->data;
        if ((*f)->flags != 0) data += "#";
        continue;
      }
      seen += fmt::format("{}.{}.{}.{};", static_cast<int>((*f)->type), (*f)->stream, (*f)->flags, (*f)->value);
      for (const auto& [n, v] : (*f)->headers) seen += n + "=" + v;
    }
  }
  return seen + data;
}

// Gives out its text once, then ends; swallows what is written.
class Tape final : public http::ByteStream {
 public:
  explicit Tape(std::string_view bytes) : bytes_(bytes) {}
  task::Task<Result<std::string_view>> read() override { co_return std::exchange(bytes_, {}); }
  task::Task<Result<void>> write(std::string_view) override { co_return Result<void>{}; }
  task::Task<Result<void>> shutdown_write() override { co_return Result<void>{}; }
  void close() override { bytes_ = {}; }

 private:
  std::string_view bytes_;
};

task::Task<bool> serve(std::string_view bytes, bool flow_control) {
  Tape tape(bytes);
  SpdySession* running = nullptr;
  SpdySession session(tape, {.max_streams = 8, .limits = kLimits, .flow_control = flow_control},
                      [&running](SpdyStreamPtr s) {
                        running->tasks().spawn([](SpdyStreamPtr stream) -> task::Task<void> {
                          (void)co_await stream->reply();
                          auto piece = co_await stream->read();
                          if (piece) (void)co_await stream->write(piece->substr(0, 1000));
                          (void)co_await stream->shutdown_write();
                        }(std::move(s)));
                      });
  running = &session;
  co_await session.run();
  co_return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  std::string_view in(reinterpret_cast<const char*>(bytes), size);
  if (run(in, size == 0 ? 1 : size) != run(in, 1)) std::abort();
  static mr::task::Loops loops(1);
  mr::testing::await_on(loops, serve(in, true));
  mr::testing::await_on(loops, serve(in, false));
  return 0;
}
