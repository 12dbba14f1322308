#include "node/grpc_health.h"

#include <gtest/gtest.h>

#include <future>

#include "task/loop.h"

namespace mr::node {
namespace {

using namespace std::string_literals;

// A server that has said all it will say.
class Canned final : public http::ByteStream {
 public:
  Canned(std::string says, std::string& heard) : says_(std::move(says)), heard_(heard) {}
  task::Task<Result<std::string_view>> read() override {
    // One byte at a time: frames come in any pieces.
    if (at_ == says_.size()) co_return std::string_view();
    co_return std::string_view(says_).substr(at_++, 1);
  }
  task::Task<Result<void>> write(std::string_view bytes) override {
    heard_ += bytes;
    co_return Result<void>{};
  }
  task::Task<Result<void>> shutdown_write() override { co_return Result<void>{}; }
  void close() override {}

 private:
  std::string says_;
  std::string& heard_;
  std::size_t at_ = 0;
};

std::string frame(char type, char flags, std::string_view payload, char stream = 1) {
  return "\0\0"s + static_cast<char>(payload.size()) + type + flags + "\0\0\0"s + stream + std::string(payload);
}

std::string check(std::string says, std::string& heard) {
  task::Loops loops(1);
  std::promise<std::string> done;
  loops.at(0).post([&] {
    task::detach([](std::string s, std::string& h, std::promise<std::string>& d) -> task::Task<void> {
      auto r = co_await grpc_health(std::make_unique<Canned>(std::move(s), h), "svc", 5000);
      d.set_value(r ? "serving" : r.error().message);
    }(std::move(says), heard, done));
  });
  return done.get_future().get();
}
std::string check(std::string says) {
  std::string heard;
  return check(std::move(says), heard);
}

const std::string kHello = frame(4, 0, "", 0), kHead = frame(1, 4, "\x88"), kTail = frame(1, 5, "x");

TEST(GrpcHealth, Serving) {
  std::string heard;
  EXPECT_EQ(check(kHello + kHead + frame(0, 0, "\0\0\0\0\x02\x08\x01"s) + kTail, heard), "serving");
  EXPECT_TRUE(heard.starts_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  EXPECT_TRUE(heard.contains("/grpc.health.v1.Health/Check"));
  EXPECT_TRUE(heard.contains("\0\0\0\0\x05\x0a\x03svc"s));
  EXPECT_TRUE(heard.ends_with("\0\0\0\x04\x01\0\0\0\0"s)) << "the server's settings are acknowledged";
}

TEST(GrpcHealth, EverythingElseIsAFailure) {
  EXPECT_TRUE(check(kHello + kHead + frame(0, 0, "\0\0\0\0\x02\x08\x02"s) + kTail).contains("NOT_SERVING"));
  EXPECT_TRUE(check(kHello + kHead + frame(0, 0, "\0\0\0\0\0"s) + kTail).contains("UNKNOWN"));
  EXPECT_TRUE(check(kHello + kTail).contains("not implemented"));
  EXPECT_TRUE(check(kHello + frame(3, 0, "\0\0\0\x07"s)).contains("reset"));
  EXPECT_TRUE(check(kHello).contains("closed"));
  EXPECT_TRUE(check("HTTP/1.1 400 Bad Request\r\n\r\n").contains("error"));
  EXPECT_TRUE(check("").contains("closed"));
}

}  // namespace
}  // namespace mr::node
