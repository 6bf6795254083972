"""The pretended GPUs themselves: they refuse what CUDA refuses, compute what the CPU computes, and count."""

import pickle
import threading

import pytest
import torch

from tests.pretended_gpus import PretendedTensor, missing_symbol, pretended_gpus, torch_symbols

CUDA = torch.device("cuda", 0)


def test_this_version_of_torch_has_the_private_symbols_that_pretended_gpus_need():
    """The only test that fails where all other tests with pretended GPUs are skipped."""
    assert missing_symbol() is None


def test_without_a_private_symbol_a_test_is_skipped_and_the_symbol_is_named(monkeypatch):
    monkeypatch.setattr(torch_symbols, "_SYMBOLS", ((torch.Tensor, "_make_something_else"),))
    assert missing_symbol() == "Tensor._make_something_else"
    with pytest.raises(pytest.skip.Exception, match=r"Tensor\._make_something_else"), pretended_gpus():
        pass


def test_devices_are_named_as_with_a_driver():
    with pretended_gpus(2):
        assert torch.device("cuda", 1) == torch.device("cuda:1") == torch.device(1) == torch.ones(1, device=1).device
        assert torch.ones(1, device="cuda").device == torch.ones(1).cuda().device == CUDA
        assert torch.device("cpu") == torch.ones(1).device


def test_operands_on_several_devices_are_refused():
    with pretended_gpus(2):
        on_gpu, elsewhere = torch.ones(3, device="cuda"), torch.ones(3, device="cuda:1")
        for operation in (
            lambda: on_gpu + torch.ones(3),
            lambda: on_gpu + elsewhere,
            lambda: torch.cat([on_gpu, elsewhere]),
            lambda: torch.ones(3)[on_gpu.long()],
            lambda: on_gpu.masked_fill_(torch.ones(3, dtype=torch.bool), 0),
            lambda: torch.nn.functional.embedding(torch.tensor([0]), torch.ones(2, 2, device="cuda")),
            lambda: torch.ones(2) * on_gpu.sum(),
            lambda: on_gpu.__setitem__(slice(2), torch.ones(2)) or on_gpu.add_(elsewhere),
        ):
            with pytest.raises(RuntimeError, match=r"device|indices"):
                operation()


def test_scalars_and_indices_of_the_cpu_are_accepted():
    with pretended_gpus():
        values = torch.arange(4.0, device="cuda")
        assert (values * torch.tensor(2.0))[torch.tensor([1, 3])].tolist() == [2, 6]
        assert values.device == (values + 1).device == CUDA


def test_what_needs_memory_of_the_cpu_is_refused():
    with pretended_gpus():
        values = torch.ones(2, device="cuda")
        for operation in (
            values.numpy,
            values.data_ptr,
            lambda: pickle.dumps(values),
            lambda: pickle.dumps([{1: values}]),
        ):
            with pytest.raises((TypeError, RuntimeError), match=r"cuda|address"):
                operation()
        assert pickle.loads(pickle.dumps(values.cpu())).tolist() == [1, 1]


def test_the_values_are_those_of_the_cpu_and_views_share_them():
    with pretended_gpus():
        weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
        on_gpu = weight.to("cuda")
        assert (
            torch.tensor([1], device="cuda").device == weight.cuda().device == torch.ones(1, device=CUDA).device == CUDA
        )
        on_gpu.t()[1:3].mul_(2)
        assert isinstance(on_gpu, PretendedTensor)
        weight.t()[1:3].mul_(2)
        assert torch.equal(on_gpu.cpu(), weight)


def test_the_ledger_counts_operations_kernels_waits_and_bytes():
    with pretended_gpus() as ledger:
        values = torch.arange(8.0).to("cuda")
        assert (ledger.bytes_to_device, ledger.uploads, ledger.waits) == (32, 1, 0)
        torch.arange(8.0).to("cuda", non_blocking=True)
        torch.empty(0).to("cuda")
        assert (ledger.uploads, ledger.blocking_uploads) == (2, 1)
        ledger.clear()
        rows = values.reshape(2, 4).transpose(0, 1)
        assert (ledger.operations, ledger.kernels) == (2, 0)
        rows = rows * 2
        assert (ledger.operations, ledger.kernels, ledger.waits) == (3, 1, 0)
        int(rows[0, 0])
        rows[rows > 3]
        rows[rows > 3] = 0.0
        assert ledger.waits == 2
        assert rows.cpu().device.type == "cpu"
        assert (ledger.waits, ledger.bytes_to_host) == (3, 32)
        assert "elsewhere" in ledger.by_line()


def test_a_full_gpu_raises_and_free_memory_is_what_is_left():
    with pretended_gpus(2, free_bytes=(1000, 10**6)):
        kept = torch.zeros(200, device="cuda")
        assert torch.cuda.mem_get_info(0) == (200, 1000)
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            kept + 1
        torch.zeros(200, device="cuda:1")
        del kept
        assert len(torch.zeros(250, device="cuda")) == 250
        assert torch.cuda.max_memory_allocated(0) == 1000


def test_threads_that_start_in_the_context_see_the_gpus():
    devices = []
    with pretended_gpus():
        thread = threading.Thread(target=lambda: devices.append(torch.zeros(2, device="cuda").device))
        thread.start()
        thread.join()
    assert devices == [CUDA]
    assert not torch.cuda.is_available() or torch.cuda.get_device_name() != "pretended 0"
