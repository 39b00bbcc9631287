// What XLA calls: the convolution forward, with bias and ReLU, and back.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "processor.h"
#include "winograd.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace jaxstyle {
namespace {

using Floats = ffi::Buffer<ffi::F32>;

#if defined(__x86_64__)

bool runs_here() { return this_processor().v3; }

// With the variable JAXSTYLE_CPU_NARROW, which is for tests, as if this were an older processor.
void convolve_here(const Convolution& asked, const Run& run) {
  static const bool is_wide = this_processor().v4 && std::getenv("JAXSTYLE_CPU_NARROW") == nullptr;
  (is_wide ? wide::convolve : narrow::convolve)(asked, run);
}

#else

bool runs_here() { return true; }

void convolve_here(const Convolution& asked, const Run& run) { narrow::convolve(asked, run); }

#endif

// Items that threads take one after another. A thread that comes late finds none.
class Items {
 public:
  Items(int64_t count, const Work& work) : count_(count), work_(work) {}

  void take() noexcept {
    for (int64_t item; (item = next_.fetch_add(1)) < count_;) {
      work_(item);
      done_.fetch_add(1, std::memory_order_release);
    }
  }

  void wait() const {
    for (int64_t turns = 0; done_.load(std::memory_order_acquire) < count_; turns++) {
      if (turns > 1000) std::this_thread::yield();
    }
  }

 private:
  const int64_t count_;
  const Work& work_;  // used by those alone that took an item, for which `wait` waits
  alignas(64) std::atomic<int64_t> next_{0};  // each in a cache line of its own
  alignas(64) std::atomic<int64_t> done_{0};
};

// Has XLA's threads help this one.
Run sharing(ffi::ThreadPool& pool) {
  return [&pool](int64_t count, const Work& work) {
    auto items = std::make_shared<Items>(count, work);
    int64_t helpers = std::min(pool.num_threads(), count) - 1;
    for (int64_t i = 0; i < helpers; i++) pool.Schedule([items] { items->take(); });
    items->take();
    items->wait();
  };
}

ffi::Error convolve(ffi::ThreadPool& pool, Floats image, ffi::RemainingArgs rows,
                    ffi::Result<Floats>& result, ffi::Result<Floats>& scratch,
                    Convolution asked) {
  std::vector<const float*> kernel;
  for (size_t i = 0; i < rows.size(); i++) {
    auto row = rows.get<Floats>(i);
    if (!row.has_value()) return row.error();
    auto sizes = row->dimensions();  // (n, out / PANEL, in, PANEL)
    bool fits = sizes.size() == 4 && sizes[0] == int64_t(rows.size()) && sizes[3] == PANEL;
    if (!fits || (i > 0 && (asked.in != sizes[2] || asked.out != sizes[1] * PANEL))) {
      return ffi::Error::InvalidArgument("a row of the kernel has another shape");
    }
    asked.in = sizes[2];
    asked.out = sizes[1] * PANEL;
    kernel.push_back(row->typed_data());
  }
  auto sizes = image.dimensions();
  if (sizes.size() != 4 || sizes[3] != (asked.turned ? asked.out : asked.in)) {
    return ffi::Error::InvalidArgument("the image has other channels than the kernel");
  }
  asked.m = int(rows.size()) - 2;
  if (asked.m != 4 && asked.m != 6) return ffi::Error::InvalidArgument("m is neither 4 nor 6");
  int64_t pixels = sizes[0] * sizes[1] * sizes[2];
  if (int64_t(result->element_count()) != pixels * (asked.turned ? asked.in : asked.out)) {
    return ffi::Error::InvalidArgument("the result has another size");
  }
  asked.image = image.typed_data();
  asked.kernel = kernel.data();
  asked.result = result->typed_data();
  asked.scratch = scratch->typed_data();
  asked.floats = int64_t(scratch->element_count());
  if (asked.floats < least_scratch(asked)) {
    return ffi::Error::InvalidArgument("there is too little scratch");
  }
  asked.count = sizes[0];
  asked.height = sizes[1];
  asked.width = sizes[2];
  convolve_here(asked, sharing(pool));
  return ffi::Error::Success();
}

ffi::Error forward(ffi::ThreadPool pool, Floats image, Floats bias, ffi::RemainingArgs rows,
                   ffi::Result<Floats> result, ffi::Result<Floats> scratch, bool together,
                   bool relu) {
  Convolution asked{};
  asked.together = together;
  asked.relu = relu;
  asked.bias = bias.typed_data();
  if (int64_t(bias.element_count()) != result->dimensions().back()) {
    return ffi::Error::InvalidArgument("the bias has another size");
  }
  return convolve(pool, image, rows, result, scratch, asked);
}

ffi::Error backward(ffi::ThreadPool pool, Floats gradient, Floats activated,
                    ffi::RemainingArgs rows, ffi::Result<Floats> result,
                    ffi::Result<Floats> scratch, bool together, bool relu) {
  Convolution asked{};
  asked.together = together;
  asked.turned = true;
  if (relu) asked.activated = activated.typed_data();
  if (activated.element_count() != gradient.element_count()) {
    return ffi::Error::InvalidArgument("the gradient has another size than the result");
  }
  return convolve(pool, gradient, rows, result, scratch, asked);
}

// What both take: two arrays, the kernel's rows; what they return: result and scratch.
auto binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Floats>()
      .Arg<Floats>()
      .RemainingArgs()
      .Ret<Floats>()
      .Ret<Floats>()
      .Attr<bool>("together")
      .Attr<bool>("relu");
}

}  // namespace
}  // namespace jaxstyle

#define VISIBLE extern "C" __attribute__((visibility("default")))

// Whether this processor has the instructions that were compiled for.
VISIBLE bool jaxstyle_runs_here() { return jaxstyle::runs_here(); }

VISIBLE XLA_FFI_Error* jaxstyle_forward(XLA_FFI_CallFrame*);
VISIBLE XLA_FFI_Error* jaxstyle_backward(XLA_FFI_CallFrame*);

// (image, bias, rows of the kernel ...) to (relu of) the convolution, and scratch.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxstyle_forward, jaxstyle::forward, jaxstyle::binding());

// (gradient of the result, result, rows of the kernel ...) to that of the image, and scratch.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxstyle_backward, jaxstyle::backward, jaxstyle::binding());
