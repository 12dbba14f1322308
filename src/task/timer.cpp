#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "task/event.h"

namespace mr::task {

struct Timer::Impl {
  boost::asio::steady_timer timer{Loop::current()->context()};
  std::move_only_function<void()> fn;
};

Timer::Timer() = default;
Timer::~Timer() { cancel(); }

void Timer::start(long ms, std::move_only_function<void()> fn) {
  cancel();
  impl_ = std::make_shared<Impl>();
  impl_->fn = std::move(fn);
  impl_->timer.expires_after(std::chrono::milliseconds(ms));
  impl_->timer.async_wait([impl = impl_](const boost::system::error_code& ec) {
    if (ec || !impl->fn) return;
    auto f = std::exchange(impl->fn, nullptr);
    f();
  });
}
void Timer::cancel() {
  if (!impl_) return;
  impl_->fn = nullptr;
  impl_->timer.cancel();
  impl_.reset();
}

}  // namespace mr::task
