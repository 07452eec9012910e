// A CUDA device for a torch that was built without one: it computes on the CPU.
//
// Its tensors are CUDA's in every respect that a program can see: their device, their dispatch (autocast, autograd),
// memory of a size of its own that can be full, and an error where a call mixes devices. Every operator runs on the
// CPU's kernel, on the same memory. A graph is the list of the calls that were captured, done again.
//
// What it cannot show: CUDA's own kernels, and those of Triton and bitsandbytes; streams, for all is done at once; speed.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <functional>
#include <set>
#include <unordered_map>
#include <vector>

namespace {

using torch::jit::Stack;

const c10::Device GPU(c10::DeviceType::CUDA, 0);

// --- memory

std::atomic<int64_t> in_use{0}, peak{0}, limit{INT64_MAX};

void take(int64_t num_bytes) {
  TORCH_CHECK_WITH(OutOfMemoryError, in_use + num_bytes <= limit, "CUDA out of memory. Tried to allocate ", num_bytes,
                   " bytes.");
  in_use += num_bytes;
  if (in_use > peak) peak = in_use.load();
}

struct Block {
  void* data;
  int64_t num_bytes;
};

void give_back(void* context) {
  auto* block = static_cast<Block*>(context);
  in_use -= block->num_bytes;
  std::free(block->data);
  delete block;
}

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t num_bytes) override {
    if (num_bytes == 0) return {nullptr, nullptr, [](void*) {}, GPU};
    take(num_bytes);
    void* data = nullptr;
    TORCH_CHECK(posix_memalign(&data, 64, num_bytes) == 0, "The host's memory is full.");
    std::memset(data, 0xCD, num_bytes);  // what is read before it was written shows
    return {data, new Block{data, int64_t(num_bytes)}, &give_back, GPU};
  }
  void copy_data(void* to, const void* from, std::size_t num_bytes) const override { std::memcpy(to, from, num_bytes); }
};

Memory memory;
const bool is_registered = (c10::SetAllocator(c10::DeviceType::CUDA, &memory, 10), true);

// --- the device

struct Device final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  c10::Device exchangeDevice(c10::Device) const override { return GPU; }
  c10::Device getDevice() const override { return GPU; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream getDefaultStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeDevice(const c10::DeviceIndex) const override {}
};

C10_REGISTER_GUARD_IMPL(CUDA, Device)

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return 1; }
  at::DeviceIndex deviceCount() const override { return 1; }
  at::DeviceIndex current_device() const override { return 0; }
  at::DeviceIndex getCurrentDevice() const override { return 0; }
  at::DeviceIndex exchangeDevice(at::DeviceIndex) const override { return 0; }
  at::DeviceIndex maybeExchangeDevice(at::DeviceIndex) const override { return 0; }
  void setCurrentDevice(at::DeviceIndex) const override {}
  void deviceSynchronize(at::DeviceIndex) const override {}
  at::Device getDeviceFromPtr(void*) const override { return GPU; }
  at::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(c10::kCPU); }
  at::Generator getNewGenerator(at::DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  const at::Generator& getDefaultGenerator(at::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};

}  // namespace

namespace at {
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, Hooks)
}

namespace {

// --- tensors of both sides, on the same memory

at::Tensor on_host(const at::Tensor& tensor) {
  auto options = tensor.options().device(at::kCPU);
  if (tensor.numel() == 0) return at::empty_strided(tensor.sizes(), tensor.strides(), options);
  return at::for_blob(const_cast<void*>(tensor.const_data_ptr()), tensor.sizes())
      .strides(tensor.strides())
      .deleter([tensor](void*) {})  // the memory stays while this side lives
      .options(options)
      .target_device(at::kCPU)
      .make_tensor();
}

void let_go(void* context) {
  auto* tensor = static_cast<at::Tensor*>(context);
  in_use -= tensor->storage().nbytes();
  delete tensor;
}

at::Tensor on_device(const at::Tensor& tensor) {
  const int64_t num_bytes = tensor.storage().nbytes();
  take(num_bytes);
  c10::DataPtr data(const_cast<void*>(tensor.storage().data()), new at::Tensor(tensor), &let_go, GPU);
  c10::Storage storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), num_bytes, std::move(data), &memory, /*resizable=*/true));
  auto found = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CUDA), tensor.dtype());
  found.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  return found;
}

// --- graphs

struct Graph {
  std::vector<std::function<void()>> calls;
};

Graph* captured = nullptr;  // the one that is being captured

void capture(const c10::OperatorHandle& op, const Stack& given, const Stack& found) {
  TORCH_CHECK(op.schema().name() != "aten::_local_scalar_dense", "operation not permitted when stream is capturing");
  captured->calls.emplace_back([op, given, found] {
    Stack again = given;
    at::AutoDispatchBelowADInplaceOrView guard;
    op.callBoxed(&again);
    const auto update = [](const at::Tensor& before, const at::Tensor& now) {
      if (before.defined() && !before.is_same(now)) before.copy_(now);
    };
    for (size_t i = 0; i < found.size(); ++i) {
      if (found[i].isTensor()) update(found[i].toTensor(), again[i].toTensor());
      if (!found[i].isTensorList()) continue;
      const auto before = found[i].toTensorVector(), now = again[i].toTensorVector();
      for (size_t place = 0; place < before.size(); ++place) update(before[place], now[place]);
    }
  });
}

// --- operators

// What CUDA lets mix devices.
const std::set<std::string> MIXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_",
                                      "aten::_foreach_copy_"};

void run_on_host(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  const auto& schema = op.schema();
  const size_t num = schema.arguments().size();
  const auto arguments = torch::jit::last(*stack, num).vec();
  std::unordered_map<c10::TensorImpl*, at::Tensor> written;  // by the host's side
  bool has_device = false, has_host = false, is_wanted = false;

  const auto to_host = [&](const at::Tensor& tensor, bool is_write) -> at::Tensor {
    if (!tensor.defined() || !tensor.is_cuda()) {
      has_host = has_host || (tensor.defined() && tensor.device().is_cpu() && tensor.dim() > 0);
      return tensor;
    }
    has_device = true;
    auto host = on_host(tensor);
    if (is_write) written[host.unsafeGetTensorImpl()] = tensor;
    return host;
  };
  Stack given;
  for (size_t i = 0; i < num; ++i) {
    const auto* alias = schema.arguments()[i].alias_info();
    const bool is_write = alias != nullptr && alias->isWrite();
    const auto& value = arguments[i];
    if (value.isTensor()) {
      given.emplace_back(to_host(value.toTensor(), is_write));
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const auto& each : value.toTensorVector()) list.push_back(to_host(each, is_write));
      given.emplace_back(std::move(list));
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor> each : value.toOptionalTensorList())
        list.push_back(each ? std::optional(to_host(*each, false)) : std::nullopt);
      given.emplace_back(std::move(list));
    } else if (value.isDevice() && value.toDevice().is_cuda()) {
      is_wanted = true;
      given.emplace_back(c10::Device(at::kCPU));
    } else {
      given.emplace_back(value);
    }
  }
  TORCH_CHECK(!(has_device && has_host) || MIXING.count(schema.name()),
              "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! (in ",
              schema.name(), ")");

  Stack found = given;
  {
    at::AutoDispatchBelowADInplaceOrView guard;
    op.callBoxed(&found);
  }
  if (captured != nullptr) capture(op, given, found);

  const auto to_device = [&](const at::Tensor& tensor) -> at::Tensor {
    if (!tensor.defined() || !tensor.device().is_cpu() || !(has_device || is_wanted)) return tensor;
    const auto own = written.find(tensor.unsafeGetTensorImpl());
    if (own == written.end()) return on_device(tensor);
    if (own->second.sizes() != tensor.sizes()) {  // `out` of another size
      const auto larger = on_device(tensor);
      auto* impl = own->second.unsafeGetTensorImpl();
      impl->set_storage_keep_dtype(larger.storage());
      impl->set_sizes_and_strides(larger.sizes(), larger.strides(), larger.storage_offset());
    }
    return own->second;
  };
  torch::jit::drop(*stack, num);
  for (const auto& value : found) {
    if (value.isTensor()) {
      stack->emplace_back(to_device(value.toTensor()));
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const auto& each : value.toTensorVector()) list.push_back(to_device(each));
      stack->emplace_back(std::move(list));
    } else {
      stack->emplace_back(value);
    }
  }
}

using Dtype = std::optional<c10::ScalarType>;
using Layout = std::optional<c10::Layout>;
using Place = std::optional<c10::Device>;
using Format = std::optional<c10::MemoryFormat>;

at::Tensor empty(c10::SymIntArrayRef sizes, Dtype dtype, Layout, Place, std::optional<bool>, Format format) {
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(sizes), &memory,
                                   c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   dtype.value_or(c10::get_default_dtype_as_scalartype()), format);
}

at::Tensor empty_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, Dtype dtype, Layout, Place,
                         std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           dtype.value_or(c10::get_default_dtype_as_scalartype()));
}

at::Tensor& copy_(at::Tensor& self, const at::Tensor& source, bool) {
  TORCH_CHECK(captured == nullptr || (self.is_cuda() && source.is_cuda()),
              "operation not permitted when stream is capturing");
  if (self.numel() == 0) return self;
  const auto side = [](const at::Tensor& tensor) { return tensor.is_cuda() ? on_host(tensor) : tensor; };
  const auto to = side(self), from = side(source);
  const auto copy = [to, from] {
    at::AutoDispatchBelowADInplaceOrView guard;
    to.copy_(from);
  };
  copy();
  if (captured != nullptr) captured->calls.emplace_back(copy);
  return self;
}

const at::Tensor& resize_(const at::Tensor& self, c10::SymIntArrayRef sizes, Format) {
  const auto wanted = C10_AS_INTARRAYREF_SLOW(sizes);
  auto* impl = self.unsafeGetTensorImpl();
  const size_t num_bytes = (self.storage_offset() + c10::multiply_integers(wanted)) * self.itemsize();
  if (num_bytes > self.storage().nbytes()) {
    const auto larger = at::empty(wanted, self.options());
    if (self.numel()) std::memcpy(larger.data_ptr(), self.data_ptr(), self.nbytes());
    impl->set_storage_keep_dtype(larger.storage());
  }
  impl->set_sizes_contiguous(wanted);
  return self;
}

at::Tensor& set_(at::Tensor& self, c10::Storage storage, c10::SymInt offset, c10::SymIntArrayRef sizes,
                 c10::SymIntArrayRef strides) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(storage));
  impl->set_sizes_and_strides(C10_AS_INTARRAYREF_SLOW(sizes), C10_AS_INTARRAYREF_SLOW(strides), offset.expect_int());
  return self;
}

TORCH_LIBRARY_IMPL(_, CUDA, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("copy_", &copy_);
  library.impl("resize_", &resize_);
  library.impl("set_.source_Storage_storage_offset", &set_);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("view", &at::native::view);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  // Else one of CUDA's libraries is chosen for them.
  library.impl("convolution", torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
  library.impl("convolution_backward", torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

}  // namespace

extern "C" {
int64_t bytes_in_use() { return in_use; }
int64_t most_bytes() { return peak; }
void forget_most_bytes() { peak = in_use.load(); }
void limit_bytes(int64_t num_bytes) { limit = num_bytes; }
void* new_graph() { return new Graph; }
void delete_graph(void* graph) { delete static_cast<Graph*>(graph); }
void begin_capture(void* graph) { captured = static_cast<Graph*>(graph); }
void end_capture() { captured = nullptr; }
bool is_capturing() { return captured != nullptr; }
void replay(void* graph) {
  for (const auto& call : static_cast<Graph*>(graph)->calls) call();
}
}
