/* floor: the least that a launcher can start. Reads a byte from descriptor 0,
 * writes it to 1 and ends; with an argument, it waits for the end of its input
 * first: an idle connection.
 *
 * Copyright (c) 2026 The relay authors. SPDX-License-Identifier: ISC
 *
 * cc -Os -static -nostdlib -fno-stack-protector floor.c -o floor
 */
#if defined __x86_64__
enum { READ = 0, WRITE = 1, EXIT = 60 };
__asm__(".globl _start\n_start: mov (%rsp), %rdi\n\tand $-16, %rsp\n\tcall answer\n");

static long call(long number, long a, const void *b, long c)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
	                 : "rcx", "r11", "memory");
	return result;
}
#elif defined __aarch64__
enum { READ = 63, WRITE = 64, EXIT = 93 };
__asm__(".globl _start\n_start: ldr x0, [sp]\n\tbl answer\n");

static long call(long number, long a, const void *b, long c)
{
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x2 __asm__("x2") = c;
	register const void *x1 __asm__("x1") = b;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}
#else
#error "floor.c has no system calls for this machine"
#endif

void answer(long argc);

void answer(long argc)
{
	char byte;
	if (call(READ, 0, &byte, 1) == 1)
		call(WRITE, 1, &byte, 1);
	while (argc > 1 && call(READ, 0, &byte, 1) == 1)
		;
	for (;;)
		call(EXIT, 0, 0, 0);
}
