"""Functions that kernels have in common: named by what they do, and held once by a library."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import pytest

from edgeinfer.codegen.linker import link_shared
from edgeinfer.codegen.pack import compile_all
from edgeinfer.codegen.shared_functions import make_local, name_by_contents, set_apart
from edgeinfer.codegen.targets import find_target
from edgeinfer.errors import KernelError

# Two kernels of each target.
KERNELS = {
    "x86-64-v3": ["f32_conv__1x32_avx2", "f32_conv__10x8_avx2"],
    "aarch64": ["f32_conv__1x16_neon", "f32_conv__8x8_neon"],
    "armv7+neon": ["f32_conv__1x16_neon32", "f32_conv__10x4_neon32"],
}

TEXT = """define linkonce_odr i32 @_Zrow{version}(ptr %retptr, ptr %excinfo, ptr %x, i64 %n) {attributes} {{
  store i64 {value}, ptr %x, align 8{metadata}
  ret i32 {status}
}}

define i32 @kernel(ptr %x) {{
  %status = call i32 @_Zrow{version}(ptr null, ptr null, ptr %x, i64 3)
  %raised = icmp ne i32 %status, 0
  br i1 %raised, label %bad, label %good
bad:
  call void @PyErr_Clear()
  br label %good
good:
  ret i32 0
}}

declare void @PyErr_Clear()

attributes {attributes} = {{ nounwind }}

!1 = !{{!2}}
!2 = distinct !{{!2, !3}}
!3 = distinct !{{!3}}
"""


def shared_module(version: str, value: str = "1", status: str = "0", metadata: str = "", attributes: str = "#1") -> str:
    """LLVM's text of a module after optimising, with its shared function named."""
    symbol = f"_Zrow{version}"
    values = {"value": value, "status": status, "metadata": metadata, "attributes": attributes}
    module = llvm.parse_assembly(set_apart(TEXT.format(version=version, **values), {symbol, "_Zelsewhere"}))
    machine = llvm.Target.from_default_triple().create_target_machine(opt=3)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    return str(name_by_contents(module, groups=True))


@pytest.fixture(scope="module", autouse=True)
def _target():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def shared_names(text: str) -> set[str]:
    return set(re.findall(r"edgeinfer_[0-9a-f]{16}", text))


def test_names_tell_what_functions_do_and_nothing_else():
    first = shared_names(shared_module("v1"))
    assert len(first) == 1
    assert first == shared_names(shared_module("v22", metadata=", !alias.scope !1", attributes="#7"))
    assert first != shared_names(shared_module("v1", value="2"))


def test_shared_functions_are_called_and_known_to_succeed():
    text = shared_module("v1")
    assert re.search(r"^define linkonce_odr hidden [^\n]* comdat \{$", text, re.MULTILINE)
    assert re.search(r"call i32 @edgeinfer_[0-9a-f]{16}\(", text)
    assert "call void @PyErr_Clear" not in text


def test_functions_that_raise_are_refused():
    with pytest.raises(KernelError, match="must not raise"):
        shared_module("v1", status="1")


def test_a_module_linked_as_a_whole_hides_them():
    module = llvm.parse_assembly(shared_module("v1"))
    make_local(module)
    assert "linkonce_odr" not in str(module)


@pytest.mark.parametrize("name", KERNELS)
def test_a_library_holds_shared_functions_once(name):
    target = find_target(name)
    objects = compile_all(target, KERNELS[name], lambda *progress: None)
    first, second = (set(re.findall(rb"edgeinfer_[0-9a-f]{16}", code)) for code in objects)
    assert first & second
    both = len(link_shared(objects, target))
    assert both < sum(len(link_shared([code], target)) for code in objects) - 1000
