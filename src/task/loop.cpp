#include "task/loop.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>

namespace mr::task {

namespace {
thread_local Loop* tls_current = nullptr;
}

struct Loop::Impl {
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{io.get_executor()};
};

Loop::Loop() : impl_(std::make_unique<Impl>()) {}
Loop::~Loop() = default;

void Loop::post(std::move_only_function<void()> fn) {
  boost::asio::post(impl_->io, [f = std::move(fn)]() mutable { f(); });
}
boost::asio::io_context& Loop::context() { return impl_->io; }
Loop* Loop::current() { return tls_current; }
void Loop::run() {
  tls_current = this;
  impl_->io.run();
  tls_current = nullptr;
}
void Loop::stop() { impl_->io.stop(); }

struct Loops::Impl {
  std::vector<std::unique_ptr<Loop>> loops;
  std::vector<std::thread> threads;
};

Loops::Loops(unsigned count) : impl_(std::make_unique<Impl>()) {
  for (unsigned i = 0; i < std::max(1U, count); ++i) impl_->loops.push_back(std::make_unique<Loop>());
  for (auto& loop : impl_->loops) {
    impl_->threads.emplace_back([l = loop.get()] {
      pthread_setname_np(pthread_self(), "mr-loop");
      l->run();
    });
  }
}
Loops::~Loops() { stop(); }
void Loops::stop() {
  for (auto& loop : impl_->loops) loop->stop();
  for (auto& t : impl_->threads)
    if (t.joinable()) t.join();
}
std::size_t Loops::size() const { return impl_->loops.size(); }
Loop& Loops::at(std::size_t i) { return *impl_->loops.at(i); }

void Sleep::await_suspend(std::coroutine_handle<> h) const {
  auto timer = std::make_shared<boost::asio::steady_timer>(Loop::current()->context(), std::chrono::milliseconds(ms));
  timer->async_wait([timer, h](const boost::system::error_code&) { h.resume(); });
}

}  // namespace mr::task
